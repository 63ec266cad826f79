use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::clock::MockClock;
use crate::source::folder::{Candidate, Watch};

const SETTLE: Duration = Duration::from_secs(10);

struct Scene {
    dir: TempDir,
    clock: Arc<MockClock>,
    watch: Watch,
    now_ms: i64,
}

impl Scene {
    fn new() -> Scene {
        let dir = tempfile::tempdir().unwrap();
        let clock = Arc::new(MockClock::at_ms(1_000_000));
        let watch = Watch::new(dir.path(), SETTLE, clock.clone()).unwrap();
        Scene { dir, clock, watch, now_ms: 1_000_000 }
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.dir.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
    }

    fn wait(&mut self, ms: i64) {
        self.now_ms += ms;
        self.clock.set_ms(self.now_ms);
    }

    fn offered(&mut self) -> Vec<String> {
        names(&self.watch.next(Duration::ZERO))
    }

    /// From here on only events, and what they cause, find files.
    fn no_periodic_scan(&mut self) {
        self.offered();
        self.watch.scan_every = Duration::from_secs(3600);
        self.watch.next_scan = Instant::now() + Duration::from_secs(3600);
    }

    fn scan_now(&mut self) {
        self.watch.next_scan = Instant::now();
    }
}

fn names(candidates: &[Candidate]) -> Vec<String> {
    candidates.iter().map(|c| c.path.file_name().unwrap().to_str().unwrap().to_owned()).collect()
}

fn append(path: &Path, text: &str) {
    OpenOptions::new().append(true).open(path).unwrap().write_all(text.as_bytes()).unwrap();
}

#[test]
fn a_file_renamed_in_is_taken_at_once() {
    let mut scene = Scene::new();
    scene.no_periodic_scan();
    scene.write("a.csv.tmp", "1\n");
    scene.write(".b.csv", "2\n");
    assert_eq!(scene.offered(), [""; 0]);
    std::fs::rename(scene.path("a.csv.tmp"), scene.path("a.csv")).unwrap();
    std::fs::rename(scene.path(".b.csv"), scene.path("b.csv")).unwrap();
    assert_eq!(scene.offered(), ["a.csv", "b.csv"]);
    scene.scan_now();
    scene.wait(60_000);
    assert_eq!(scene.offered(), [""; 0], "once");
}

#[test]
fn a_file_written_in_place_is_taken_when_it_settled() {
    let mut scene = Scene::new();
    scene.no_periodic_scan();
    scene.write("slow.csv", "1\n");
    assert_eq!(scene.offered(), [""; 0]);
    scene.wait(9_000);
    append(&scene.path("slow.csv"), "2\n");
    assert_eq!(scene.offered(), [""; 0]);
    scene.wait(9_000);
    assert_eq!(scene.offered(), [""; 0], "the wait began anew");
    scene.wait(1_000);
    let taken = scene.watch.next(Duration::ZERO);
    assert_eq!((names(&taken), taken[0].size()), (vec!["slow.csv".into()], 4));
    append(&scene.path("slow.csv"), "3\n");
    scene.offered();
    scene.wait(10_000);
    assert_eq!(scene.offered(), ["slow.csv"], "what changes after it was taken is offered again");
    let again = Candidate { ..taken[0].clone() };
    scene.watch.again(&again);
    scene.scan_now();
    scene.wait(10_000);
    assert_eq!(scene.offered(), [""; 0], "that state is no more");
}

#[test]
fn a_change_unseen_by_events_still_delays() {
    let mut scene = Scene::new();
    scene.watch.inotify = None;
    scene.write("slow.csv", "1\n");
    scene.watch.pending.clear();
    scene.scan_now();
    scene.offered();
    scene.watch.inotify = None;
    append(&scene.path("slow.csv"), "2\n");
    scene.watch.next_scan = Instant::now() + Duration::from_secs(3600);
    scene.wait(10_000);
    assert_eq!(scene.offered(), [""; 0], "the last look saw another size");
    scene.wait(10_000);
    assert_eq!(scene.offered(), ["slow.csv"]);
}

#[test]
fn only_finished_regular_files_and_oldest_first() {
    let mut scene = Scene::new();
    for (name, age) in [("c.csv", 30), ("b.csv", 20), ("a.csv", 20), ("z.csv", 40)] {
        let file = File::create(scene.path(name)).unwrap();
        file.set_modified(std::time::UNIX_EPOCH + Duration::from_secs(1_000_000 - age)).unwrap();
    }
    for name in [".hidden", "x.tmp", "x.part", "x.csv.filepart", "x.csv~"] {
        scene.write(name, "1\n");
    }
    std::fs::create_dir(scene.path("done")).unwrap();
    std::fs::write(scene.path("done/inner.csv"), "1\n").unwrap();
    std::os::unix::fs::symlink("/etc/hostname", scene.path("link.csv")).unwrap();
    scene.scan_now();
    scene.offered();
    scene.wait(10_000);
    assert_eq!(scene.offered(), ["z.csv", "c.csv", "a.csv", "b.csv"]);
}

#[test]
fn an_overflow_of_events_loses_no_file() {
    let mut scene = Scene::new();
    scene.no_periodic_scan();
    let queued: usize =
        std::fs::read_to_string("/proc/sys/fs/inotify/max_queued_events").unwrap().trim().parse().unwrap();
    if queued > 50_000 {
        return eprintln!("skipped: this machine queues {queued} events, too many to overflow in a test");
    }
    let files = queued / 3 + 2000;
    for file in 0..files {
        scene.write(&format!("{file}.csv"), "1\n");
    }
    scene.offered();
    scene.offered();
    scene.wait(10_000);
    assert_eq!(scene.offered().len(), files);
}

#[test]
fn a_folder_made_again_is_watched_again() {
    let mut scene = Scene::new();
    scene.no_periodic_scan();
    let dir = scene.dir.path().to_path_buf();
    let moved = dir.with_extension("moved");
    for (way, remove) in [("deleted", None), ("renamed", Some(&moved))] {
        match remove {
            None => std::fs::remove_dir_all(&dir).unwrap(),
            Some(to) => std::fs::rename(&dir, to).unwrap(),
        }
        assert_eq!(scene.offered(), [""; 0]);
        assert!(!scene.watch.is_notified(), "{way}");
        std::fs::create_dir(&dir).unwrap();
        scene.scan_now();
        assert_eq!(scene.offered(), [""; 0]);
        assert!(scene.watch.is_notified(), "{way}");
        scene.watch.next_scan = Instant::now() + Duration::from_secs(3600);
        scene.write("n.tmp", "1\n");
        std::fs::rename(scene.path("n.tmp"), scene.path("n.csv")).unwrap();
        assert_eq!(scene.offered(), ["n.csv"], "{way}");
    }
    std::fs::remove_dir_all(moved).unwrap();
}

#[test]
fn waiting_ends_with_the_file() {
    let mut scene = Scene::new();
    scene.no_periodic_scan();
    let (from, to) = (scene.path("x.tmp"), scene.path("x.csv"));
    let writer = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(120));
        std::fs::write(&from, "1\n").unwrap();
        std::fs::rename(&from, &to).unwrap();
    });
    let began = Instant::now();
    assert_eq!(names(&scene.watch.next(Duration::from_secs(20))), ["x.csv"]);
    assert!(began.elapsed() < Duration::from_secs(10));
    writer.join().unwrap();
    assert_eq!(scene.watch.next(Duration::from_millis(60)).len(), 0);
}

#[test]
fn a_folder_that_cannot_be_watched_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let clock = Arc::new(MockClock::at_ms(0));
    let code = |path: &Path| Watch::new(path, SETTLE, clock.clone()).err().unwrap().code();
    assert_eq!(code(&dir.path().join("nowhere")), "missing");
    let file = dir.path().join("file");
    std::fs::write(&file, "").unwrap();
    assert_eq!(code(&file), "not_a_folder");
}
