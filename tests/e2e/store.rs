//! Backups of the store, by the program itself: while a gateway writes, put back under another name, and
//! with kill -9 in the middle of both.

use crate::testkit::{
    cluster::program,
    gateway::{GatewayProcess, PALISADE, kubectl},
    process::{PATIENCE, run},
};
use palisade::{
    config::{self, Config},
    serve::state::State,
    store::{Store, Txn, copy},
};
use serde_json::Value;
use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Instant,
};

/// Backups that are made while users are added.
const BACKUPS: usize = 4;
/// Kills of a backup, and of a restore.
const KILLS: u64 = 12;
/// Megabytes of the store that is copied while copies are killed: some tenths of a second.
const MEGABYTES: usize = 48;

fn store_command(arguments: &[&str], file: &Path, config: &Path) -> Command {
    let mut command = Command::new(PALISADE);
    command.arg("store").args(arguments).arg(file);
    command.arg("--config").arg(config);
    command
}

#[test]
fn when_a_token_was_last_used_outlives_a_restart() {
    let mut gateway = GatewayProcess::start();
    gateway.login("admin", &gateway.password).ok();
    let file = gateway.kubeconfig("admin", "static.yaml", &["--static"]);
    let token = |gateway: &GatewayProcess| {
        let mut list = gateway.cli("admin");
        list.args(["token", "list", "-o", "json"]);
        let list: Value = serde_json::from_str(&run(&list).ok()).expect("JSON");
        let items = list["items"].as_array().expect("tokens").clone();
        let made = items
            .into_iter()
            .find(|token| token["spec"]["kind"] == "pat");
        made.expect("the kubeconfig's")
    };
    assert_eq!(token(&gateway)["status"].get("lastUsed"), None);
    let mut users = kubectl(&program("kubectl"), &file);
    users.args(["--context", "palisade", "get", "users"]);
    run(&users).ok();
    let used = token(&gateway)["status"]["lastUsed"].clone();
    assert!(used.is_string(), "{used}");
    gateway.restart(str::to_owned);
    assert_eq!(token(&gateway)["status"]["lastUsed"], used);
    let mut list = gateway.cli("admin");
    list.args(["token", "list"]);
    let table = run(&list).ok();
    assert!(
        table.contains("LAST USED") && !table.contains("never"),
        "{table}"
    );
}

#[test]
fn a_backup_under_writes_is_restored_elsewhere_and_served() {
    let mut gateway = GatewayProcess::start();
    gateway.login("admin", &gateway.password).ok();
    let config = gateway.state_dir().join("palisade.yaml");
    let state_dir = gateway.state_dir().clone();
    let saved = |n: usize| state_dir.join(format!("backup-{n}"));
    let stop = AtomicBool::new(false);
    let (mut known, made) = thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let mut made = 0;
            while !stop.load(Ordering::Relaxed) {
                let mut add = gateway.cli("admin");
                add.args(["user", "add", &format!("robot-{made}"), "--machine"]);
                run(&add).ok();
                made += 1;
            }
            made
        });
        let mut known = Vec::new();
        for n in 0..BACKUPS {
            let mut list = gateway.cli("admin");
            list.args(["user", "list", "-o", "name"]);
            known = run(&list).ok().lines().map(str::to_owned).collect();
            let said = run(&store_command(&["backup"], &saved(n), &config)).ok();
            assert!(said.contains("whole, revision "), "{said}");
        }
        stop.store(true, Ordering::Relaxed);
        (known, writer.join().expect("the writer ends"))
    });
    assert!(made > 0, "users were added meanwhile");
    // A gateway that runs keeps its store.
    let refused = store_command(&["restore", "--discard-newer"], &saved(0), &config);
    run(&refused).refused(&["is open in another palisade process"]);

    let text = fs::read_to_string(&config).expect("the configuration");
    let elsewhere = |text: &str| {
        assert!(text.contains("store: state.db"), "{text}");
        text.replace("store: state.db", "store: restored.db")
    };
    let other = gateway.state_dir().join("other.yaml");
    fs::write(&other, elsewhere(&text)).expect("it can be written");
    let last = saved(BACKUPS - 1);
    let said = run(&store_command(&["restore"], &last, &other)).ok();
    assert!(said.contains("Sessions ended: 1;"), "{said}");
    gateway.restart(elsewhere);

    // The session from before is not good any more; nor is anything lost that was there before the backup.
    let mut users = gateway.cli("admin");
    users.args(["user", "list", "-o", "name"]);
    run(&users).refused(&["palisade login"]);
    gateway.login("admin", &gateway.password).ok();
    let there = run(&users).ok();
    known.retain(|user| !there.lines().any(|line| line == user));
    assert_eq!(known, Vec::<String>::new());
    gateway.stop();
    // Onto a store that has more than the backup.
    let older = store_command(&["restore"], &saved(0), &config);
    run(&older).refused(&["what was written since would be lost"]);
    let said = run(&store_command(
        &["restore", "--discard-newer"],
        &saved(0),
        &config,
    ))
    .ok();
    assert!(said.contains("The old store is "), "{said}");
    // Keys of another gateway are none for it.
    let keys = gateway.state_dir().join("keys");
    fs::rename(&keys, keys.with_extension("away")).expect("it can be renamed");
    let anyway = store_command(&["restore", "--discard-newer"], &saved(0), &config);
    run(&anyway).refused(&["the key file", "is not there"]);
}

/// A configuration, and a store of its own with a few megabytes in it.
async fn world(folder: &Path) -> (Config, PathBuf) {
    let text = "external_url: https://localhost\n\
                tls: {cert_file: c, key_file: k}\n\
                state: {store: store.db, key_file: keys}\n";
    let file = folder.join("palisade.yaml");
    fs::write(&file, text).unwrap();
    let config = config::read(text, folder).unwrap();
    let state = State::open(&config.state).await.unwrap();
    for megabyte in 0..MEGABYTES {
        let txn = (0..100).fold(Txn::new(), |txn, n| {
            let key = format!("/palisade/filling/{megabyte:03}/{n:03}");
            txn.put(key, vec![b'x'; 10_486])
        });
        state.store.txn(txn).await.unwrap();
    }
    state.store.close().await;
    (config, file)
}

/// Starts the command, and kills it when the file at `path` has this many bytes, or it has ended.
fn kill_at(mut command: Command, path: &Path, bytes: u64) -> bool {
    let mut child: Child = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let until = Instant::now() + PATIENCE;
    loop {
        if child.try_wait().unwrap().is_some() {
            return false;
        }
        if fs::metadata(path).is_ok_and(|found| found.len() >= bytes) {
            child.kill().unwrap();
            child.wait().unwrap();
            return true;
        }
        assert!(Instant::now() < until, "it goes on for ever");
        thread::yield_now();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_backup_leaves_no_file_that_looks_like_one() {
    let folder = tempfile::tempdir().unwrap();
    let (config, file) = world(folder.path()).await;
    let to = folder.path().join("backup");
    let partial = folder.path().join("backup.partial");
    // Somebody writes all the time.
    let store = Store::open_sqlite(&config.state.store).unwrap();
    let writer = tokio::spawn({
        let store = store.clone();
        async move {
            let mut n = 0;
            while store
                .txn(Txn::new().put(format!("/n/{n}"), "1"))
                .await
                .is_ok()
            {
                n += 1;
            }
        }
    });
    let mut killed = 0;
    for kill in 0..KILLS {
        let command = store_command(&["backup"], &to, &file);
        let bytes = kill * (MEGABYTES as u64) * (1 << 20) / KILLS;
        if kill_at(command, &partial, bytes) {
            killed += 1;
            if to.exists() {
                copy::check(&to).unwrap();
            }
        }
        let _ = fs::remove_file(&to);
    }
    assert!(killed >= KILLS / 2, "{killed} were killed in the middle");
    run(&store_command(&["backup"], &to, &file)).ok();
    let facts = copy::check(&to).unwrap();
    assert!(facts.keys > (MEGABYTES * 100) as u64, "{facts:?}");
    assert!(!partial.exists());
    store.close().await;
    writer.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_restore_leaves_the_old_store_or_the_new_one() {
    let folder = tempfile::tempdir().unwrap();
    let (config, file) = world(folder.path()).await;
    let saved = folder.path().join("backup");
    run(&store_command(&["backup"], &saved, &file)).ok();
    let path = &config.state.store;
    let newer = Txn::new().put("/palisade/newer", "1");
    let store = Store::open_sqlite(path).unwrap();
    store.txn(newer).await.unwrap();
    store.close().await;
    let restoring = folder.path().join("store.db.restoring");
    let (mut killed, mut old) = (0, 0);
    for kill in 0..KILLS {
        let command = store_command(&["restore", "--discard-newer"], &saved, &file);
        let bytes = kill * (MEGABYTES as u64) * (1 << 20) / (KILLS - 2);
        killed += u64::from(kill_at(command, &restoring, bytes));
        // One of the two, whole: never none, for a start would make an empty one.
        assert!(path.exists());
        let store = Store::open_sqlite(path).unwrap();
        let filling = store.list("/palisade/filling/", usize::MAX, None).await;
        assert_eq!(filling.unwrap().items.len(), MEGABYTES * 100);
        old += u64::from(store.get("/palisade/newer").await.unwrap().is_some());
        store
            .txn(Txn::new().put("/palisade/newer", "1"))
            .await
            .unwrap();
        store.close().await;
    }
    assert!(killed >= KILLS / 2, "{killed} were killed in the middle");
    assert!(old > 0);
    run(&store_command(
        &["restore", "--discard-newer"],
        &saved,
        &file,
    ))
    .ok();
    let store = Store::open_sqlite(path).unwrap();
    assert!(store.get("/palisade/newer").await.unwrap().is_none());
    store.close().await;
    assert!(!restoring.exists());
}
