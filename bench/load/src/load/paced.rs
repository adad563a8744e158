//! Open loop: requests at a fixed rate, whether or not the earlier ones are answered; latency counts from the
//! intended start. A thread of its own keeps the pace: tokio's timer is a millisecond coarse.

use super::{Aim, Burst, Client, Meter, Profile, Proto, clients};
use anyhow::Result;
use futures_util::future::join_all;
use std::{
    cell::RefCell,
    rc::Rc,
    time::{Duration, Instant},
};
use tokio::{
    sync::{Mutex, mpsc},
    task::LocalSet,
};

/// Requests at a rate.
#[derive(Clone, Debug)]
pub struct Paced {
    /// Protocol of the client side.
    pub proto: Proto,
    /// Connections; HTTP/1.1 ones take a request at a time, further ones wait their turn.
    pub connections: usize,
    /// Requests a second.
    pub rate: f64,
    /// For how long.
    pub seconds: f64,
    /// Behind the cluster's prefix.
    pub path: String,
    /// Bytes of each answer.
    pub bytes: usize,
    /// How long answers are waited for after the last request.
    pub grace: Duration,
}

enum Line {
    /// One at a time.
    One(Mutex<Client>),
    /// Any number.
    Many(Client),
}

/// Runs it; answers that do not come within the grace count as wrong.
pub async fn paced(aim: &Aim, load: &Paced, meter: &mut impl Meter) -> Result<Burst> {
    let headers = Profile::Controller.headers();
    let mut open = clients(aim, load.proto, load.connections).await?;
    for got in join_all(
        open.iter_mut()
            .map(|client| client.send(aim.request(load.proto, &headers, &load.path))),
    )
    .await
    {
        got?;
    }
    let lines: Vec<Rc<Line>> = open
        .into_iter()
        .map(|client| match load.proto {
            Proto::H1 => Rc::new(Line::One(Mutex::new(client))),
            Proto::H2 => Rc::new(Line::Many(client)),
        })
        .collect();
    let count = (load.rate * load.seconds) as usize;
    let (starts, mut due) = mpsc::unbounded_channel();
    let rate = load.rate;
    meter.start()?;
    let pacer = std::thread::spawn(move || {
        let begin = Instant::now();
        for number in 0..count {
            let at = begin + Duration::from_secs_f64(number as f64 / rate);
            let now = Instant::now();
            if at > now {
                std::thread::sleep(at - now);
            }
            if starts.send(at).is_err() {
                return;
            }
        }
    });
    let burst = Rc::new(RefCell::new(Burst::default()));
    let local = LocalSet::new();
    let run = async {
        let mut number = 0;
        let mut tasks = Vec::with_capacity(count);
        while let Some(at) = due.recv().await {
            let line = Rc::clone(&lines[number % lines.len()]);
            number += 1;
            let request = aim.request(load.proto, &headers, &load.path);
            let (burst, bytes) = (Rc::clone(&burst), load.bytes);
            tasks.push(tokio::task::spawn_local(async move {
                let got = match &*line {
                    Line::One(client) => client.lock().await.send(request).await,
                    Line::Many(client) => match client.shared() {
                        Ok(mut client) => client.send(request).await,
                        Err(error) => Err(error),
                    },
                };
                burst.borrow_mut().count(&got, Some(bytes), at);
            }));
        }
        let _ = tokio::time::timeout(load.grace, join_all(tasks)).await;
    };
    local.run_until(run).await;
    meter.stop()?;
    let _ = pacer.join();
    drop(local);
    let mut burst = Rc::into_inner(burst)
        .map(RefCell::into_inner)
        .unwrap_or_default();
    let lost = count.saturating_sub(burst.done + burst.wrong);
    burst.wrong += lost;
    Ok(burst)
}
