//! Questions to the release store: one SQL statement, rows back, nothing changed.
//!
//! Everything in the store may be read, so the guard protects the store and the machine, not the
//! data: the file is opened read-only, `query_only` is on, and `guard` lets through one statement
//! that reads.

pub mod guard;

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteRow};
use sqlx::{
    AssertSqlSafe, Column, ConnectOptions, Connection, Executor, Row, SqlSafeStr, Statement, TypeInfo, ValueRef,
};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Rows in the order and with the names of the statement.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    pub columns: Vec<String>,
    pub rows: Vec<Vec<Value>>,
}

/// A value as SQLite has it.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Null,
    Integer(i64),
    Real(f64),
    Text(String),
    Blob(Vec<u8>),
}

impl Value {
    fn held_bytes(&self) -> usize {
        let beside = match self {
            Value::Text(text) => text.len(),
            Value::Blob(blob) => blob.len(),
            Value::Null | Value::Integer(_) | Value::Real(_) => 0,
        };
        size_of::<Value>() + beside
    }
}

/// Bounds of one statement.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub rows: usize,
    pub time: Duration,
    /// Of the answer as it is held, all rows together.
    pub bytes: usize,
}

/// Memory that SQLite may take in this process, sorting included: the bound on values that an
/// expression makes (`printf`, `replace`, `group_concat`, concatenation). A process can only lower it.
pub const HEAP_BYTES: u64 = 256 << 20;

/// How long a statement may outlive its time inside a single function, where SQLite asks nobody.
const GRACE: Duration = Duration::from_secs(1);

#[derive(Debug, thiserror::Error)]
pub enum QueryError {
    #[error("no release store at {0}: nothing has been released yet")]
    NoStore(PathBuf),
    #[error("{0}")]
    Refused(#[from] guard::Refusal),
    #[error("{0}")]
    Sql(String),
    #[error("more than {0} rows: add LIMIT, or aggregate")]
    TooManyRows(usize),
    #[error("stopped after {} s: narrow the question, or raise --timeout-s", .0.as_secs())]
    TooLong(Duration),
    #[error("the answer holds more than {} MiB: name fewer columns, add LIMIT, or aggregate", .0 >> 20)]
    TooLarge(usize),
    #[error("the statement needs more than {} MiB of memory: sort or join less at once, or make shorter texts", HEAP_BYTES >> 20)]
    TooMuchMemory,
}

/// Asks the store one statement.
pub async fn ask(store: &Path, sql: &str, limits: Limits) -> Result<Answer, QueryError> {
    guard::check(sql)?;
    // The statement may sit in one long function: it is left behind then.
    let asked = tokio::time::timeout(limits.time.saturating_add(GRACE), read(store, sql, limits));
    asked.await.unwrap_or(Err(QueryError::TooLong(limits.time)))
}

async fn read(store: &Path, sql: &str, limits: Limits) -> Result<Answer, QueryError> {
    let mut connection = open(store).await?;
    let started = Instant::now();
    watch(&mut connection, started, limits.time).await?;
    let failed = |e: sqlx::Error| match e {
        // a row that could not be copied for want of memory ends the library's own thread
        sqlx::Error::WorkerCrashed => QueryError::TooMuchMemory,
        e if out_of_memory(&e) => QueryError::TooMuchMemory,
        _ if started.elapsed() >= limits.time => QueryError::TooLong(limits.time),
        e => QueryError::Sql(text_of(&e)),
    };
    let statement = connection.prepare(AssertSqlSafe(sql.to_owned()).into_sql_str()).await.map_err(failed)?;
    let columns = statement.columns().iter().map(|c| c.name().to_owned()).collect();
    let mut rows = Vec::new();
    let mut bytes = 0;
    {
        use futures::TryStreamExt;
        let mut stream = statement.query().fetch(&mut connection);
        while let Some(row) = stream.try_next().await.map_err(failed)? {
            if rows.len() == limits.rows {
                return Err(QueryError::TooManyRows(limits.rows));
            }
            let row = values(&row).map_err(|e| QueryError::Sql(text_of(&e)))?;
            bytes += row.iter().map(Value::held_bytes).sum::<usize>();
            if bytes > limits.bytes {
                return Err(QueryError::TooLarge(limits.bytes));
            }
            rows.push(row);
        }
    }
    connection.close().await.map_err(failed)?;
    Ok(Answer { columns, rows })
}

/// A table or view of the store, and its columns.
pub struct Shape {
    pub table: String,
    pub columns: Vec<String>,
}

/// What may be asked about: views and tables by name.
pub async fn shapes(store: &Path) -> Result<Vec<Shape>, QueryError> {
    let sql = "-- shapes
SELECT m.name, c.name FROM sqlite_schema AS m JOIN pragma_table_info(m.name) AS c
WHERE m.type IN ('table', 'view') AND m.name NOT LIKE 'sqlite_%' AND m.name <> 'release_files' ORDER BY m.name, c.cid";
    let mut connection = open(store).await?;
    let rows = sqlx::query(sql).fetch_all(&mut connection).await.map_err(|e| QueryError::Sql(text_of(&e)))?;
    let mut shapes: Vec<Shape> = Vec::new();
    for row in rows {
        let (table, column): (String, String) = (row.get(0), row.get(1));
        match shapes.last_mut() {
            Some(shape) if shape.table == table => shape.columns.push(column),
            _ => shapes.push(Shape { table, columns: vec![column] }),
        }
    }
    Ok(shapes)
}

/// Read-only in two ways: the file is opened so, and the connection refuses writes.
async fn open(store: &Path) -> Result<SqliteConnection, QueryError> {
    if !store.is_file() {
        return Err(QueryError::NoStore(store.to_owned()));
    }
    let options = SqliteConnectOptions::new()
        .filename(store)
        .read_only(true)
        .create_if_missing(false)
        .pragma("query_only", "ON")
        .pragma("trusted_schema", "OFF")
        .pragma("hard_heap_limit", HEAP_BYTES.to_string())
        // what does not fit the heap must not fill the disk instead
        .pragma("temp_store", "MEMORY")
        .busy_timeout(Duration::from_secs(10))
        .disable_statement_logging();
    options.connect().await.map_err(|e| QueryError::Sql(text_of(&e)))
}

/// Ends the statement when its time is over.
async fn watch(connection: &mut SqliteConnection, started: Instant, time: Duration) -> Result<(), QueryError> {
    let mut handle = connection.lock_handle().await.map_err(|e| QueryError::Sql(text_of(&e)))?;
    handle.set_progress_handler(10_000, move || started.elapsed() < time);
    Ok(())
}

fn values(row: &SqliteRow) -> Result<Vec<Value>, sqlx::Error> {
    (0..row.columns().len())
        .map(|i| {
            let raw = row.try_get_raw(i)?;
            if raw.is_null() {
                return Ok(Value::Null);
            }
            let kind = raw.type_info();
            Ok(match kind.name() {
                "INTEGER" => Value::Integer(row.try_get_unchecked(i)?),
                "REAL" => Value::Real(row.try_get_unchecked(i)?),
                "BLOB" => Value::Blob(row.try_get_unchecked(i)?),
                _ => Value::Text(row.try_get_unchecked(i)?),
            })
        })
        .collect()
}

/// SQLITE_NOMEM, and SQLITE_TOOBIG for a single value beyond a billion bytes.
fn out_of_memory(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(|e| e.code());
    matches!(code.as_deref(), Some("7" | "18"))
}

/// SQLite's own words, without the wrapping.
fn text_of(error: &sqlx::Error) -> String {
    match error {
        sqlx::Error::Database(e) => e.message().to_owned(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests;
