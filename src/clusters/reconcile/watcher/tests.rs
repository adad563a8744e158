use super::{failure::REFUSED_MAX, *};
use crate::{
    clusters::{client::Refusal, registry},
    objects::{Cluster, ClusterSpec},
    proxy::dial::Reach,
    status::Reason,
};
use tokio::sync::watch;

fn watcher() -> (Watcher, mpsc::Receiver<News>, watch::Sender<u64>) {
    let spec = ClusterSpec {
        server: "https://localhost:1".to_owned(),
        ..ClusterSpec::default()
    };
    let target = registry::target(&Cluster::new("fake", spec), Reach::ClustersAndLoopback).unwrap();
    let client = Arc::new(Client::new(Arc::new(target), None));
    let (news, heard) = mpsc::channel(100);
    let (ask, again) = watch::channel(0);
    let watcher = Watcher::new(Source::Roles, client, news, again);
    (watcher, heard, ask)
}

/// The pause after each of some failures in a row.
async fn pauses(failure: fn() -> Failure) -> Vec<Duration> {
    let (mut watcher, _heard, _ask) = watcher();
    let mut pauses = Vec::new();
    for _ in 0..20 {
        let began = Instant::now();
        watcher.trouble(failure()).await.unwrap();
        pauses.push(began.elapsed());
    }
    pauses
}

#[tokio::test(start_paused = true)]
async fn what_refuses_is_asked_less_often_than_what_is_away() {
    for (failure, longest) in [
        ((|| Failure::passing("away")) as fn() -> Failure, RETRY_MAX),
        (|| Failure::lasting("no"), REFUSED_MAX),
    ] {
        let pauses = pauses(failure).await;
        assert!(pauses[0] <= RETRY_FIRST * 2, "{pauses:?}");
        for pause in &pauses[12..] {
            assert!(*pause >= longest.mul_f64(0.69), "{pauses:?}");
            assert!(*pause <= longest.mul_f64(1.31), "{pauses:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_refused_and_is_away_now_is_noticed_soon() {
    let (mut watcher, _heard, _ask) = watcher();
    for _ in 0..20 {
        watcher.trouble(Failure::lasting("no")).await.unwrap();
    }
    let began = Instant::now();
    watcher.trouble(Failure::passing("away")).await.unwrap();
    assert!(began.elapsed() <= RETRY_MAX.mul_f64(1.31));
}

#[tokio::test(start_paused = true)]
async fn who_asks_for_a_look_does_not_wait_for_the_pause_and_gets_a_new_list() {
    let (mut watcher, _heard, ask) = watcher();
    for _ in 0..20 {
        watcher.trouble(Failure::lasting("no")).await.unwrap();
    }
    let began = Instant::now();
    let asking = async {
        sleep(Duration::from_secs(1)).await;
        ask.send_modify(|asked| *asked += 1);
    };
    let (told, ()) = tokio::join!(watcher.trouble(Failure::lasting("no")), asking);
    told.unwrap();
    assert!(began.elapsed() < Duration::from_secs(2));
    // Whoever lists next sees it, once; and if it is refused again, the pauses begin anew.
    assert!(watcher.again.has_changed().unwrap());
    watcher.again.mark_unchanged();
    let began = Instant::now();
    watcher.trouble(Failure::lasting("no")).await.unwrap();
    assert!(began.elapsed() <= RETRY_FIRST * 2);
}

#[tokio::test(start_paused = true)]
async fn a_session_that_is_over_is_not_waited_for() {
    let (mut watcher, heard, ask) = watcher();
    drop(ask);
    assert!(watcher.trouble(Failure::lasting("no")).await.is_err());
    drop(heard);
    assert!(watcher.trouble(Failure::lasting("no")).await.is_err());
}

#[test]
fn a_refusal_of_the_api_server_lasts_and_all_else_passes() {
    let refused = |code, reason| {
        Failure::from(ClientError::Refused(Box::new(Refusal {
            code,
            message: "no".to_owned(),
            reason,
            error: None,
            request_id: None,
        })))
    };
    for code in [403, 401, 404, 429, 408, 500, 503, 302] {
        let code = StatusCode::from_u16(code).unwrap();
        let own = refused(code, Some(Reason::Forbidden)).longest;
        let lasts = code.is_client_error() && code != StatusCode::TOO_MANY_REQUESTS;
        assert_eq!(own == REFUSED_MAX, lasts, "{code}");
        // A page of whatever stands before an API server that is away.
        assert_eq!(refused(code, None).longest, RETRY_MAX, "{code}");
    }
}
