//! The configuration as a file: read whole, once, with all that is wrong in lines for a person.

use super::{
    Config,
    options::Change,
    read,
    yaml::{self, Mistake},
};
use std::{
    io::{self, Read as _},
    path::{Path, PathBuf},
};

/// A configuration file larger than this is another file.
const MAX_BYTES: u64 = 1 << 20;

/// A configuration file without mistakes.
pub struct File {
    path: PathBuf,
    text: String,
    /// What it means.
    pub config: Config,
}

impl File {
    /// Reads one; on failure the lines to show, one a mistake: `FILE:LINE:COLUMN: path: message`.
    pub fn read(path: &Path) -> Result<Self, Vec<String>> {
        let name = path.display();
        let cannot = |error: io::Error| vec![format!("cannot read {name}: {error}")];
        let mut text = String::new();
        let file = std::fs::File::open(path).map_err(cannot)?;
        let read_bytes = file.take(MAX_BYTES + 1).read_to_string(&mut text);
        if read_bytes.map_err(cannot)? as u64 > MAX_BYTES {
            return Err(vec![format!(
                "cannot read {name}: it has more than {MAX_BYTES} bytes"
            )]);
        }
        // Absolute, so that the gateway's files do not move with its working folder.
        let absolute = std::path::absolute(path).map_err(cannot)?;
        let folder = absolute.parent().unwrap_or(Path::new("/"));
        match read(&text, folder) {
            Ok(config) => Ok(Self {
                path: path.to_owned(),
                text,
                config,
            }),
            Err(mistakes) => Err(in_file(path, &mistakes)),
        }
    }

    /// What keeps a gateway that runs with `running` from going over to this file: a line for each changed
    /// option that takes a restart.
    pub fn need_restart(&self, running: &Config) -> Vec<String> {
        let Ok(node) = yaml::parse_one(&self.text) else {
            // It was read a moment ago from the same text.
            return Vec::new();
        };
        let changed = self.config.differing(running).into_iter();
        let changed = changed.filter(|option| option.change == Change::Restart);
        let message = "a change of this takes a restart, so nothing of the file was taken";
        let mistakes: Vec<Mistake> = changed
            .map(|option| Mistake::at(&node, option.path, message))
            .collect();
        in_file(&self.path, &mistakes)
    }
}

fn in_file(path: &Path, mistakes: &[Mistake]) -> Vec<String> {
    let name = path.display().to_string();
    mistakes
        .iter()
        .map(|mistake| mistake.in_file(&name))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::options::OPTIONS;

    const TEXT: &str = "\
external_url: https://gate.example.com
tls: {cert_file: cert.pem, key_file: key.pem, handshake_timeout: 60s}
state: {store: state.db, key_file: keys}
log:
  level: info
  format: text
";

    fn file(folder: &Path, text: &str) -> Result<File, Vec<String>> {
        let path = folder.join("gate.yaml");
        std::fs::write(&path, text).unwrap();
        File::read(&path)
    }

    #[test]
    fn what_takes_a_restart_is_named_with_its_line() {
        let folder = tempfile::tempdir().unwrap();
        let running = file(folder.path(), TEXT).unwrap().config;
        let same = TEXT.replace("60s", "1m").replace("info", "debug");
        let next = file(folder.path(), &same).unwrap();
        assert_eq!(next.need_restart(&running), Vec::<String>::new());
        let paths = |next: &File| -> Vec<&str> {
            let differing = next.config.differing(&running).into_iter();
            differing.map(|option| option.path).collect()
        };
        assert_eq!(paths(&next), ["log.level"]);
        let text = same.replace("text", "json").replace("state.db", "other.db");
        let next = file(folder.path(), &text).unwrap();
        assert_eq!(paths(&next), ["state.store", "log.format", "log.level"]);
        let told = next.need_restart(&running);
        assert_eq!(told.len(), 2);
        assert!(
            told[0].contains("gate.yaml:3:9: state.store: a change of this takes a restart"),
            "{told:?}"
        );
        assert!(told[1].contains("gate.yaml:6:3: log.format: "), "{told:?}");
    }

    #[test]
    fn files_that_cannot_be_read_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let told = |path: &Path| File::read(path).err().unwrap().join("\n");
        let nowhere = told(&folder.path().join("nowhere.yaml"));
        assert!(nowhere.contains("nowhere.yaml: No such file"), "{nowhere}");
        let long = folder.path().join("long.yaml");
        std::fs::write(&long, "#".repeat(2 << 20)).unwrap();
        assert!(told(&long).contains("more than 1048576 bytes"));
    }

    #[test]
    fn every_option_is_compared() {
        let folder = tempfile::tempdir().unwrap();
        let config = file(folder.path(), TEXT).unwrap().config;
        let value = serde_json::to_value(&config).unwrap();
        for option in OPTIONS {
            let pointer = format!("/{}", option.path.replace('.', "/"));
            assert!(value.pointer(&pointer).is_some(), "{}", option.path);
        }
    }
}
