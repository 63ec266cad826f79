//! Writes that survive a power cut: file synced, then linked, then its folder synced.
//!
//! `deltalake-core` does not sync on a local disk; `DurableStore` makes every log entry and
//! checkpoint it writes durable before the call returns.

use super::LakeError;
use futures::stream::BoxStream;
use object_store::local::LocalFileSystem;
use object_store::path::Path as ObjectPath;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMode,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result as StoreResult, UploadPart,
};
use rand::RngCore;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Creates `path` with `bytes` if, and only if, nothing stands there; durable on return.
/// `AlreadyExists` tells that somebody else was first.
pub fn put_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let temporary = write_temporary(path, bytes)?;
    let linked = fs::hard_link(&temporary, path);
    fs::remove_file(&temporary)?;
    linked?;
    sync_folder(parent(path))
}

/// Replaces `path` by `bytes`, all or nothing; durable on return.
pub fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let temporary = write_temporary(path, bytes)?;
    fs::rename(&temporary, path)?;
    sync_folder(parent(path))
}

/// Makes folders down to `path`, each durable in its parent before anything is made in it.
pub fn create_folders(path: &Path) -> Result<(), LakeError> {
    let mut missing = Vec::new();
    let mut at = path;
    while !at.is_dir() {
        missing.push(at);
        at = parent(at);
    }
    // The deepest that stands may be the work of a process that was killed, or is not done, before
    // it was durable. Those above it are: they were synced before it was made.
    sync_folder(parent(at)).map_err(LakeError::io("cannot sync", at))?;
    for folder in missing.into_iter().rev() {
        match fs::create_dir(folder) {
            Err(e) if e.kind() != io::ErrorKind::AlreadyExists => {
                return Err(LakeError::io("cannot create", folder)(e));
            }
            _ => sync_folder(parent(folder)).map_err(LakeError::io("cannot sync", folder))?,
        }
    }
    Ok(())
}

pub fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// 128 random bits in hex, for names that must not repeat.
pub fn random_name() -> String {
    let mut bytes = [0u8; 16];
    rand::rng().fill_bytes(&mut bytes);
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(p) if !p.as_os_str().is_empty() => p,
        _ => Path::new("."),
    }
}

fn write_temporary(path: &Path, bytes: &[u8]) -> io::Result<PathBuf> {
    let folder = parent(path);
    if !folder.is_dir() {
        create_folders(folder).map_err(io::Error::other)?;
    }
    let temporary = folder.join(format!(".tmp-{}", random_name()));
    let mut file = File::create_new(&temporary)?;
    let written = file.write_all(bytes).and_then(|()| file.sync_all());
    if let Err(e) = written {
        // Best effort: the caller needs the first error (a full disk), not the second.
        let _ = fs::remove_file(&temporary);
        return Err(e);
    }
    Ok(temporary)
}

/// The local file system for `deltalake-core`, with durable puts. Paths are absolute.
#[derive(Debug)]
pub struct DurableStore(Arc<LocalFileSystem>);

impl DurableStore {
    pub fn new() -> DurableStore {
        DurableStore(Arc::new(LocalFileSystem::new()))
    }
}

impl Default for DurableStore {
    fn default() -> Self {
        DurableStore::new()
    }
}

impl std::fmt::Display for DurableStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("durable local files")
    }
}

fn put_durably(path: &Path, payload: &PutPayload, mode: &PutMode) -> StoreResult<PutResult> {
    let bytes: Vec<u8> = payload.iter().flat_map(|part| part.iter().copied()).collect();
    let name = path.display().to_string();
    let done = match mode {
        PutMode::Create => put_new(path, &bytes),
        PutMode::Overwrite => replace(path, &bytes),
        PutMode::Update(_) => {
            return Err(object_store::Error::NotImplemented {
                operation: "conditional update".into(),
                implementer: "DurableStore".into(),
            });
        }
    };
    done.map(|()| PutResult { e_tag: None, version: None }).map_err(|e| {
        if e.kind() == io::ErrorKind::AlreadyExists {
            object_store::Error::AlreadyExists { path: name, source: Box::new(e) }
        } else {
            object_store::Error::Generic { store: "durable local files", source: Box::new(e) }
        }
    })
}

#[async_trait::async_trait]
impl ObjectStore for DurableStore {
    async fn put_opts(&self, location: &ObjectPath, payload: PutPayload, opts: PutOptions) -> StoreResult<PutResult> {
        put_durably(&self.0.path_to_filesystem(location)?, &payload, &opts.mode)
    }

    async fn put_multipart_opts(
        &self,
        location: &ObjectPath,
        _: PutMultipartOptions,
    ) -> StoreResult<Box<dyn MultipartUpload>> {
        Ok(Box::new(DurableUpload { path: self.0.path_to_filesystem(location)?, parts: Vec::new() }))
    }

    async fn get_opts(&self, location: &ObjectPath, options: GetOptions) -> StoreResult<GetResult> {
        self.0.get_opts(location, options).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, StoreResult<ObjectPath>>,
    ) -> BoxStream<'static, StoreResult<ObjectPath>> {
        self.0.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&ObjectPath>) -> BoxStream<'static, StoreResult<ObjectMeta>> {
        self.0.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&ObjectPath>) -> StoreResult<ListResult> {
        self.0.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &ObjectPath, to: &ObjectPath, options: CopyOptions) -> StoreResult<()> {
        self.0.copy_opts(from, to, options).await
    }
}

/// Checkpoints come in parts; they are small enough to gather and put at once.
#[derive(Debug)]
struct DurableUpload {
    path: PathBuf,
    parts: Vec<PutPayload>,
}

#[async_trait::async_trait]
impl MultipartUpload for DurableUpload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        self.parts.push(data);
        Box::pin(std::future::ready(Ok(())))
    }

    async fn complete(&mut self) -> StoreResult<PutResult> {
        let whole: PutPayload = self.parts.drain(..).flatten().collect();
        put_durably(&self.path, &whole, &PutMode::Overwrite)
    }

    async fn abort(&mut self) -> StoreResult<()> {
        self.parts.clear();
        Ok(())
    }
}
