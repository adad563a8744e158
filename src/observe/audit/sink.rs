//! Where lines go: a file that is rotated, or standard output.

use super::{FileSettings, Output, Sync};
use std::{
    ffi::OsString,
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Seek as _, Write as _},
    os::{
        fd::AsFd as _,
        unix::fs::{FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _},
    },
    path::{Path, PathBuf},
    time::Instant,
};

/// For the gateway's user alone: lines name people and what they did.
const MODE: u32 = 0o600;

/// An output that is open, or to be opened.
pub(super) struct Sink {
    place: Place,
    /// None: to be opened before the next write.
    file: Option<File>,
    /// The last line was written in part, and the file could not be cut.
    torn: bool,
    /// The file could not be moved away, which was told.
    stuck: bool,
    /// When lines that were written are to be put on the disk.
    sync_at: Option<Instant>,
}

enum Place {
    Stdout,
    File(FileSettings),
}

impl Sink {
    /// Opens the output; none if there is to be none.
    pub(super) fn open(output: &Output) -> io::Result<Option<Self>> {
        let place = match output {
            Output::Off => return Ok(None),
            Output::Stdout => Place::Stdout,
            Output::File(settings) => Place::File(settings.clone()),
        };
        let mut sink = Self {
            place,
            file: None,
            torn: false,
            stuck: false,
            sync_at: None,
        };
        sink.file()?;
        Ok(Some(sink))
    }

    /// Appends whole lines, and puts on the disk what is due. After an error nothing of them counts.
    pub(super) fn write(&mut self, lines: &[u8]) -> io::Result<()> {
        let written = self.try_write(lines);
        if written.is_err() {
            // Whatever is wrong with it (a file system that was taken away), a new handle may help.
            self.file = None;
        }
        written
    }

    /// When to write again though no lines have come.
    pub(super) fn sync_at(&self) -> Option<Instant> {
        self.sync_at
    }

    /// The file is opened anew before the next write.
    pub(super) fn reopen(&mut self) {
        self.sync_now();
        self.file = None;
    }

    /// Puts everything on the disk; for the end, when an error has no one to go to but the log.
    pub(super) fn finish(&mut self) {
        self.sync_now();
    }

    fn sync_now(&mut self) {
        let due = self.sync_at.take().is_some();
        if let Some(file) = self.file.as_ref().filter(|_| due)
            && let Err(error) = file.sync_data()
        {
            tracing::error!(%error, "the audit log may not be on the disk");
        }
    }

    fn try_write(&mut self, lines: &[u8]) -> io::Result<()> {
        self.rotate_before(lines.len());
        self.file()?;
        let (sync, regular, torn) = (self.sync(), self.is_regular(), self.torn);
        let file = self.file()?;
        let length = file.metadata()?.len();
        let appended = append(file, if torn { b"\n" } else { b"" }, lines);
        let appended = appended.and_then(|()| match sync {
            Sync::Batch if !lines.is_empty() => file.sync_data(),
            Sync::Batch | Sync::Every(_) | Sync::Never => Ok(()),
        });
        if let Err(error) = appended {
            let cut = regular && file.set_len(length).is_ok();
            self.torn = torn || !cut;
            return Err(error);
        }
        self.torn = false;
        self.sync_when_due(!lines.is_empty())
    }

    fn sync_when_due(&mut self, wrote: bool) -> io::Result<()> {
        let Sync::Every(pause) = self.sync() else {
            return Ok(());
        };
        let now = Instant::now();
        match self.sync_at {
            None if wrote => self.sync_at = Some(now + pause),
            Some(at) if at <= now => {
                // Before the attempt: a failed one says nothing about the next, so it is not repeated.
                self.sync_at = None;
                self.file()?.sync_data()?;
            }
            None | Some(_) => {}
        }
        Ok(())
    }

    fn sync(&self) -> Sync {
        match &self.place {
            Place::Stdout => Sync::Never,
            Place::File(settings) => settings.sync,
        }
    }

    /// Whether the file can be cut and moved: `/dev/stderr` and the like cannot.
    fn is_regular(&self) -> bool {
        let file = self.file.as_ref().and_then(|file| file.metadata().ok());
        matches!(self.place, Place::File(_)) && file.is_some_and(|metadata| metadata.is_file())
    }

    /// The open file; opens it if it is not, or if its name belongs to another by now.
    fn file(&mut self) -> io::Result<&mut File> {
        if let (Place::File(settings), Some(file)) = (&self.place, &self.file)
            && !is_named(file, &settings.path)
        {
            self.reopen();
        }
        let file = if let Some(file) = self.file.take() {
            file
        } else {
            let (file, torn) = self.place.open()?;
            self.torn = torn.unwrap_or(self.torn);
            file
        };
        Ok(self.file.insert(file))
    }

    /// Moves the file away if these many bytes would make it too large. A failure is told and changes
    /// nothing: a file that is too large is better than none.
    fn rotate_before(&mut self, more: usize) {
        let Place::File(FileSettings {
            path,
            max_size,
            max_files: files @ 1..,
            ..
        }) = &self.place
        else {
            return;
        };
        let length = fs::metadata(path).map_or(0, |metadata| metadata.len());
        if length == 0 || length.saturating_add(more as u64) <= *max_size || !self.is_regular() {
            return;
        }
        match shift(path, *files) {
            Ok(()) => {
                self.stuck = false;
                self.reopen();
            }
            Err(error) if !self.stuck => {
                self.stuck = true;
                tracing::error!(%error, "the audit log cannot be rotated, and grows");
            }
            Err(_) => {}
        }
    }
}

impl Place {
    /// Opens it; also says whether it ends in the middle of a line, if that can be told.
    fn open(&self) -> io::Result<(File, Option<bool>)> {
        let path = match self {
            // Not `io::Stdout`, which keeps bytes back.
            Self::Stdout => {
                let stdout = io::stdout().as_fd().try_clone_to_owned()?;
                return Ok((stdout.into(), None));
            }
            Self::File(settings) => &settings.path,
        };
        // Opening one would wait for a reader.
        if fs::metadata(path).is_ok_and(|metadata| metadata.file_type().is_fifo()) {
            let why = "it is a pipe, and must be a file";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
        }
        let mut options = OpenOptions::new();
        let file = options.append(true).create(true).mode(MODE).open(path)?;
        // So that a new name is on the disk as well; not every file system can.
        if let Some(folder) = path.parent().and_then(|folder| File::open(folder).ok()) {
            let _ = folder.sync_all();
        }
        let torn = file.metadata()?.is_file().then(|| ends_torn(path));
        Ok((file, torn.transpose()?))
    }
}

/// Whether the last byte is no line end: a process was killed in the middle of a write.
fn ends_torn(path: &Path) -> io::Result<bool> {
    let mut file = File::open(path)?;
    if file.metadata()?.len() == 0 {
        return Ok(false);
    }
    let mut last = [0];
    file.seek(io::SeekFrom::End(-1))?;
    file.read_exact(&mut last)?;
    Ok(last != *b"\n")
}

fn append(file: &mut File, before: &[u8], lines: &[u8]) -> io::Result<()> {
    file.write_all(before)?;
    file.write_all(lines)
}

/// Whether the path leads to this very file.
fn is_named(file: &File, path: &Path) -> bool {
    let (Ok(open), Ok(named)) = (file.metadata(), fs::metadata(path)) else {
        return false;
    };
    (open.dev(), open.ino()) == (named.dev(), named.ino())
}

/// `log` → `log.1` → `log.2` …; the last is overwritten.
fn shift(path: &Path, files: u32) -> io::Result<()> {
    for number in (1..files).rev() {
        match fs::rename(numbered(path, number), numbered(path, number + 1)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
    }
    fs::rename(path, numbered(path, 1))
}

fn numbered(path: &Path, number: u32) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(format!(".{number}"));
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn sink(path: &Path, sync: Sync) -> Sink {
        let settings = FileSettings {
            path: path.to_owned(),
            max_size: 20,
            max_files: 2,
            sync,
        };
        Sink::open(&Output::File(settings)).unwrap().unwrap()
    }

    fn read(path: &Path) -> String {
        fs::read_to_string(path).unwrap_or_default()
    }

    #[test]
    fn a_file_is_rotated_by_size_and_the_oldest_goes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.log");
        let mut sink = sink(&path, Sync::Batch);
        for line in ["one 67890\n", "two 67890\n", "three\n", "four\n"] {
            sink.write(line.as_bytes()).unwrap();
        }
        assert_eq!(read(&path), "three\nfour\n");
        assert_eq!(read(&numbered(&path, 1)), "one 67890\ntwo 67890\n");
        // Larger than a whole file: it is not cut.
        let long = format!("{}\n", "x".repeat(50));
        sink.write(long.as_bytes()).unwrap();
        sink.write(b"last\n").unwrap();
        assert_eq!(read(&path), "last\n");
        assert_eq!(read(&numbered(&path, 1)), long);
        assert_eq!(read(&numbered(&path, 2)), "three\nfour\n");
        assert!(!numbered(&path, 3).exists());
        let mode = fs::metadata(&path).unwrap().mode();
        assert_eq!(mode & 0o777, MODE);
    }

    #[test]
    fn a_file_that_cannot_be_moved_away_grows() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.log");
        let mut sink = sink(&path, Sync::Never);
        fs::create_dir(numbered(&path, 1)).unwrap();
        fs::create_dir(numbered(&path, 2)).unwrap();
        fs::write(numbered(&path, 2).join("in the way"), "").unwrap();
        for _ in 0..3 {
            sink.write(b"0123456789\n").unwrap();
        }
        assert_eq!(read(&path), "0123456789\n".repeat(3));
    }

    #[test]
    fn the_file_of_that_name_is_written_whoever_moves_it() {
        let folder = tempfile::tempdir().unwrap();
        let (path, away) = (folder.path().join("log"), folder.path().join("away"));
        let mut sink = sink(&path, Sync::Never);
        sink.write(b"one\n").unwrap();
        fs::rename(&path, &away).unwrap();
        sink.write(b"two\n").unwrap();
        fs::remove_file(&path).unwrap();
        sink.write(b"three\n").unwrap();
        assert_eq!(
            (read(&away), read(&path)),
            ("one\n".into(), "three\n".into())
        );
        // Copied and cut to nothing, as some do.
        File::create(&path).unwrap();
        sink.write(b"four\n").unwrap();
        assert_eq!(read(&path), "four\n");
    }

    #[test]
    fn a_line_that_a_killed_process_left_in_part_is_ended() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        fs::write(&path, "{\"kind\":").unwrap();
        let mut sink = sink(&path, Sync::Never);
        sink.write(b"one\n").unwrap();
        sink.write(b"two\n").unwrap();
        assert_eq!(read(&path), "{\"kind\":\none\ntwo\n");
    }

    #[test]
    fn lines_are_put_on_the_disk_when_it_is_due() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let mut lazy = sink(&path, Sync::Every(Duration::from_hours(1)));
        assert_eq!(lazy.sync_at(), None);
        lazy.write(b"one\n").unwrap();
        let due = lazy.sync_at().unwrap();
        lazy.write(b"two\n").unwrap();
        assert_eq!(lazy.sync_at(), Some(due), "from the first line on");
        let mut eager = sink(&path, Sync::Every(Duration::ZERO));
        eager.write(b"three\n").unwrap();
        assert!(eager.sync_at().is_some());
        eager.write(b"").unwrap();
        assert_eq!(eager.sync_at(), None);
        let mut never = sink(&path, Sync::Never);
        never.write(b"four\n").unwrap();
        assert_eq!(never.sync_at(), None);
    }

    #[test]
    fn what_is_no_file_is_refused_at_the_start() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        let made = std::process::Command::new("mkfifo").arg(&pipe).status();
        assert!(made.unwrap().success());
        for path in [pipe, folder.path().to_owned(), folder.path().join("no/log")] {
            let settings = FileSettings {
                path,
                max_size: 1,
                max_files: 1,
                sync: Sync::Never,
            };
            assert!(Sink::open(&Output::File(settings)).is_err());
        }
    }
}
