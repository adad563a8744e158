//! A site that speaks HTTPS and answers as a test says, well or badly: what providers of logins are made of.

use super::{client, fake_api};
use bytes::Bytes;
use futures_util::stream;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full, StreamBody, combinators::BoxBody};
use hyper::{
    body::{Frame, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use std::{
    collections::BTreeMap,
    convert::Infallible,
    future,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};
use tokio::{net::TcpListener, sync::Semaphore};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use url::Url;

/// One question as it came.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) query: BTreeMap<String, String>,
    pub(crate) form: BTreeMap<String, String>,
    pub(crate) headers: HeaderMap,
    /// `https://localhost:PORT`
    pub(crate) base: String,
}

impl Asked {
    pub(crate) fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name);
        value.map_or("", |value| value.to_str().unwrap())
    }

    /// The token of an `Authorization: Bearer` header.
    pub(crate) fn bearer(&self) -> &str {
        let value = self.header("authorization");
        value.strip_prefix("Bearer ").unwrap_or_default()
    }

    /// A parameter of the query.
    pub(crate) fn q(&self, name: &str) -> &str {
        self.query.get(name).map_or("", String::as_str)
    }

    /// A field of the form.
    pub(crate) fn f(&self, name: &str) -> &str {
        self.form.get(name).map_or("", String::as_str)
    }
}

/// What is said to it.
#[derive(Clone, Debug)]
pub(crate) enum Said {
    Answer(StatusCode, Vec<(&'static str, String)>, String),
    /// 200, and bytes without an end.
    Endless,
    /// Nothing, ever.
    Silent,
    /// This, once the test gives a permit.
    Held(Arc<Semaphore>, Box<Said>),
}

impl Said {
    pub(crate) fn json(value: &Value) -> Self {
        Self::answer(200, value)
    }

    pub(crate) fn answer(status: u16, value: &Value) -> Self {
        let kind = ("content-type", "application/json".to_owned());
        let status = StatusCode::from_u16(status).unwrap();
        Self::Answer(status, vec![kind], value.to_string())
    }

    pub(crate) fn html(text: &str) -> Self {
        let kind = ("content-type", "text/html; charset=utf-8".to_owned());
        Self::Answer(StatusCode::OK, vec![kind], text.to_owned())
    }

    pub(crate) fn redirect(to: &str) -> Self {
        Self::Answer(
            StatusCode::FOUND,
            vec![("location", to.to_owned())],
            String::new(),
        )
    }

    pub(crate) fn with(mut self, name: &'static str, value: &str) -> Self {
        if let Self::Answer(_, headers, _) = &mut self {
            headers.push((name, value.to_owned()));
        }
        self
    }
}

type Answers = Box<dyn Fn(&Asked) -> Said + Send + Sync>;

pub(crate) struct Site {
    pub(crate) address: SocketAddr,
    pub(crate) ca_pem: String,
    asked: Arc<Mutex<Vec<Asked>>>,
    stop: CancellationToken,
}

impl Drop for Site {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Site {
    pub(crate) async fn start(answers: impl Fn(&Asked) -> Said + Send + Sync + 'static) -> Self {
        let (config, ca_pem) = fake_api::tls(&[]);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let site = Self {
            address: listener.local_addr().unwrap(),
            ca_pem,
            asked: Arc::default(),
            stop: CancellationToken::new(),
        };
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let answers: Arc<Answers> = Arc::new(Box::new(answers));
        let (asked, stop, base) = (Arc::clone(&site.asked), site.stop.clone(), site.url());
        tokio::spawn(stop.clone().run_until_cancelled_owned(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (acceptor, stop, base) = (acceptor.clone(), stop.clone(), base.clone());
                let (answers, asked) = (Arc::clone(&answers), Arc::clone(&asked));
                tokio::spawn(
                    stop.run_until_cancelled_owned(async move {
                        let Ok(stream) = acceptor.accept(stream).await else {
                            return;
                        };
                        let service = service_fn(move |request| {
                            let (answers, asked) = (Arc::clone(&answers), Arc::clone(&asked));
                            let base = base.clone();
                            async move {
                                Ok::<_, Infallible>(answer(request, &answers, &asked, base).await)
                            }
                        });
                        let io = TokioIo::new(stream);
                        let _ = http1::Builder::new().serve_connection(io, service).await;
                    }),
                );
            }
        }));
        site
    }

    pub(crate) fn url(&self) -> String {
        format!("https://localhost:{}", self.address.port())
    }

    /// Its authority, in a file of this folder.
    pub(crate) fn ca_file(&self, folder: &Path) -> PathBuf {
        let path = folder.join(format!("ca-{}.pem", self.address.port()));
        std::fs::write(&path, &self.ca_pem).unwrap();
        path
    }

    /// All that it was asked so far at this path.
    pub(crate) fn asked(&self, path: &str) -> Vec<Asked> {
        let all = self.asked.lock().unwrap();
        all.iter().filter(|it| it.path == path).cloned().collect()
    }

    /// A browser comes to this address; where it is sent from there.
    pub(crate) async fn visit(&self, url: &str) -> Url {
        let answer = self.get(url).await;
        assert_eq!(answer.status, 302, "{}", answer.text());
        let to = answer.headers["location"].to_str().unwrap();
        Url::parse(to).unwrap()
    }

    pub(crate) async fn get(&self, url: &str) -> client::Answer {
        let url = Url::parse(url).unwrap();
        assert_eq!(url.port(), Some(self.address.port()), "it is here: {url}");
        let target = format!("{}?{}", url.path(), url.query().unwrap_or_default());
        let request = Request::get(target).header("host", "localhost");
        let address = self.address.to_string();
        let stream = client::tls_to(&address, "localhost", &self.ca_pem, &["http/1.1"]).await;
        client::h1_over(stream, client::empty(request)).await
    }
}

async fn answer(
    request: Request<Incoming>,
    answers: &Answers,
    all: &Mutex<Vec<Asked>>,
    base: String,
) -> Response<BoxBody<Bytes, Infallible>> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    let pairs = |text: &[u8]| url::form_urlencoded::parse(text).into_owned().collect();
    let asked = Asked {
        method: head.method,
        path: head.uri.path().to_owned(),
        query: pairs(head.uri.query().unwrap_or_default().as_bytes()),
        form: pairs(&body),
        headers: head.headers,
        base,
    };
    let mut said = answers(&asked);
    all.lock().unwrap().push(asked);
    while let Said::Held(turns, then) = said {
        turns.acquire().await.unwrap().forget();
        said = *then;
    }
    match said {
        Said::Answer(status, headers, body) => {
            let mut response = Response::builder().status(status);
            for (name, value) in headers {
                response = response.header(name, value);
            }
            response.body(Full::from(body).boxed()).unwrap()
        }
        Said::Endless => {
            let chunk = Bytes::from(vec![b' '; 64 << 10]);
            let frames = stream::repeat_with(move || Ok(Frame::data(chunk.clone())));
            Response::new(StreamBody::new(frames).boxed())
        }
        Said::Silent | Said::Held(..) => future::pending().await,
    }
}
