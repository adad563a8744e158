//! The queue and the thread behind it, on real files; `/dev/full` is the disk that is full.

use super::*;
use std::{
    cell::Cell,
    fs,
    os::unix::fs::symlink,
    path::Path,
    sync::mpsc::{Receiver, SyncSender, sync_channel},
    time::Instant,
};

const PATIENCE: Duration = Duration::from_secs(20);

fn settings(path: &Path, queue: usize) -> Settings {
    Settings {
        output: Output::File(FileSettings {
            path: path.to_owned(),
            max_size: 1 << 20,
            max_files: 3,
            sync: Sync::Every(Duration::from_secs(1)),
        }),
        queue,
        best_effort: false,
    }
}

fn encode(text: &String, line: &mut Vec<u8>) {
    line.extend_from_slice(text.as_bytes());
    line.push(b'\n');
}

fn until(what: impl Fn() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !what() {
        assert!(Instant::now() < end, "it does not come");
        std::thread::yield_now();
    }
}

/// An encoder that waits for a word before each line.
fn held() -> (SyncSender<()>, impl Fn(&String, &mut Vec<u8>) + Send) {
    let (word, words): (_, Receiver<()>) = sync_channel(100);
    let encode = move |text: &String, line: &mut Vec<u8>| {
        let _ = words.recv();
        encode(text, line);
    };
    (word, encode)
}

#[tokio::test]
async fn lines_are_written_in_order_and_all_of_them() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let audit = Audit::start(&settings(&path, 10_000), encode).unwrap();
    for number in 0..5000 {
        audit.admit().unwrap();
        audit.record(number.to_string());
    }
    audit.close().await;
    let expected: Vec<String> = (0..5000).map(|number| number.to_string()).collect();
    let text = fs::read_to_string(&path).unwrap();
    assert_eq!(text.lines().collect::<Vec<_>>(), expected);
    let counts = audit.counts();
    assert_eq!((counts.written.get(), counts.queued.get()), (5000, 0));
    // What comes after the end is not lost in silence.
    audit.record("late".to_owned());
    assert_eq!((counts.dropped.get(), counts.queued.get()), (1, 0));
}

// T9: nothing is admitted that has no place.
#[tokio::test]
async fn a_full_queue_admits_nobody_until_there_is_room() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let (word, encode) = held();
    let audit = Audit::start(&settings(&path, 2), encode).unwrap();
    for number in 0..2 {
        audit.admit().unwrap();
        audit.record(number.to_string());
    }
    assert_eq!(audit.admit(), Err(NotAudited::Full));
    assert_eq!(audit.counts().refused.get(), 1);
    // Who was admitted before has a place all the same.
    audit.record("stream".to_owned());
    // A stranger has none.
    audit.record_stranger(|_| unreachable!());
    assert_eq!(audit.counts().left_out.get(), 1);
    for _ in 0..3 {
        word.send(()).unwrap();
    }
    until(|| audit.admit().is_ok());
    word.send(()).unwrap();
    audit.record_stranger(|left_out| format!("{left_out} left out"));
    audit.close().await;
    let text = fs::read_to_string(&path).unwrap();
    assert_eq!(text, "0\n1\nstream\n1 left out\n");
}

#[tokio::test]
async fn best_effort_drops_and_counts() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let (word, encode) = held();
    let loose = Settings {
        best_effort: true,
        ..settings(&path, 2)
    };
    let audit = Audit::start(&loose, encode).unwrap();
    for number in 0..5 {
        audit.admit().unwrap();
        audit.record(number.to_string());
    }
    assert_eq!(audit.counts().dropped.get(), 3);
    for _ in 0..2 {
        word.send(()).unwrap();
    }
    audit.close().await;
    assert_eq!(fs::read_to_string(&path).unwrap(), "0\n1\n");
}

// T9: the disk is full, and has room again.
#[tokio::test]
async fn what_a_full_disk_refused_is_written_when_it_has_room() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    symlink("/dev/full", &path).unwrap();
    let audit = Audit::start(&settings(&path, 100), encode).unwrap();
    audit.admit().unwrap();
    audit.record("one".to_owned());
    until(|| audit.admit() == Err(NotAudited::Failing));
    let counts = audit.counts();
    assert_eq!((counts.written.get(), counts.queued.get()), (0, 1));
    assert!(counts.failures.get() > 0);
    // A stream that was open goes on, and its end waits.
    audit.record("two".to_owned());
    fs::remove_file(&path).unwrap();
    audit.reopen();
    until(|| audit.admit().is_ok());
    audit.close().await;
    assert_eq!(fs::read_to_string(&path).unwrap(), "one\ntwo\n");
    assert_eq!((counts.written.get(), counts.failing.get()), (2, 0));
}

#[tokio::test]
async fn a_stop_gives_up_a_disk_that_stays_full() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    symlink("/dev/full", &path).unwrap();
    let audit = Audit::start(&settings(&path, 100), encode).unwrap();
    audit.record("one".to_owned());
    until(|| audit.admit().is_err());
    audit.record("two".to_owned());
    audit.close().await;
    let counts = audit.counts();
    assert_eq!((counts.dropped.get(), counts.queued.get()), (2, 0));
}

#[tokio::test]
async fn reopening_goes_on_in_a_new_file() {
    let folder = tempfile::tempdir().unwrap();
    let (path, away) = (folder.path().join("log"), folder.path().join("log.1"));
    let audit = Audit::start(&settings(&path, 100), encode).unwrap();
    audit.record("one".to_owned());
    until(|| audit.counts().written.get() == 1);
    fs::rename(&path, &away).unwrap();
    audit.reopen();
    // At once, so that whoever moved it sees the new one.
    until(|| path.exists());
    audit.record("two".to_owned());
    audit.close().await;
    assert_eq!(fs::read_to_string(&away).unwrap(), "one\n");
    assert_eq!(fs::read_to_string(&path).unwrap(), "two\n");
}

// Rule 3: a writer that broke is no reason to go on without one.
#[tokio::test]
async fn nobody_is_admitted_when_the_thread_has_died() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let audit = Audit::start(&settings(&path, 100), |_: &String, _| panic!("on purpose")).unwrap();
    audit.record("one".to_owned());
    until(|| audit.admit() == Err(NotAudited::Failing));
    // The queue ends a moment after that: what comes until then is never written, and counts as waiting.
    let recorded = Cell::new(1);
    until(|| {
        audit.record("more".to_owned());
        recorded.set(recorded.get() + 1);
        audit.counts().dropped.get() > 0
    });
    let counts = audit.counts();
    let waiting = u64::try_from(counts.queued.get()).unwrap();
    assert_eq!(waiting + counts.dropped.get(), recorded.get());
    assert_eq!(counts.written.get(), 0);
    assert_eq!(audit.admit(), Err(NotAudited::Failing));
    audit.close().await;
}

#[tokio::test]
async fn without_an_output_everything_is_admitted_and_nothing_kept() {
    let off = Settings {
        output: Output::Off,
        queue: 0,
        best_effort: false,
    };
    let audit = Audit::start(&off, encode).unwrap();
    audit.admit().unwrap();
    audit.record("one".to_owned());
    audit.record_stranger(|_| unreachable!());
    assert_eq!(audit.counts().queued.get(), 0);
    audit.close().await;
}
