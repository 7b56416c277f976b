//! The API's client: one request, one connection, blocking.
//!
//! What it is not: no retries and no connection pool; a unix socket costs microseconds. Cost: a
//! current-thread runtime a request, which is why `events --watch` asks with `wait` and not in a loop.

use std::io;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::StatusCode;
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;

use super::answers::{Cuts, Events, Flows, Health, Problem, Reloaded, Status, Told, Whoami};
use super::question::Question;
use super::reload;

/// The largest answer taken: a full page of events is well below.
const ANSWER_LIMIT: usize = 32 << 20;

/// How long a request may take beyond what it asks the gate to wait.
const PATIENCE: Duration = Duration::from_secs(10);

type Request = hyper::Request<Full<Bytes>>;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// There is no socket.
    #[error("no gate is running: there is no socket {}", .0.display())]
    NoSocket(PathBuf),
    /// There is one, and nobody behind it.
    #[error("no gate is running: nobody answers at {}, left behind by an earlier one", .0.display())]
    Dead(PathBuf),
    /// Something else has the name.
    #[error("{} is not a socket: no gate answers there", .0.display())]
    NotASocket(PathBuf),
    /// The socket's mode forbids it.
    #[error("no permission to connect to {}", .0.display())]
    Forbidden(PathBuf),
    /// The connection failed otherwise.
    #[error("cannot talk to {}: {}", .0.display(), .1)]
    Connection(PathBuf, #[source] io::Error),
    /// The gate did not answer HTTP.
    #[error("{} does not answer as a gate does: {}", .0.display(), .1)]
    Http(PathBuf, #[source] hyper::Error),
    /// The answer took too long.
    #[error("no answer from {} within {} s", .0.display(), .1.as_secs())]
    Timeout(PathBuf, Duration),
    /// The answer is too long or not what this version expects.
    #[error("{} answers what this version does not understand: {}", .0.display(), .1)]
    Answer(PathBuf, String),
    /// The gate refused.
    #[error("{}", .0.error)]
    Refused(Problem),
}

impl ClientError {
    /// What to do about it.
    #[must_use]
    pub fn remedy(&self) -> String {
        match self {
            Self::NoSocket(_) | Self::Dead(_) => {
                "start one with `portcullis run --policy FILE`, or name its socket with --socket PATH"
                    .into()
            }
            Self::Forbidden(_) => {
                "root and the socket's group may connect: use sudo, or join the group".into()
            }
            Self::NotASocket(_) | Self::Connection(..) | Self::Http(..) => {
                "check that --socket names a gate's socket".into()
            }
            Self::Timeout(..) => "look at the gate's log and at `portcullis doctor`".into(),
            Self::Answer(..) => "use the client of the gate's own version".into(),
            Self::Refused(problem) => problem.remedy.clone(),
        }
    }
}

/// `GET /v1/status`.
///
/// # Errors
/// [`ClientError`].
pub fn status(socket: &Path) -> Result<Status, ClientError> {
    get_json(socket, "/v1/status")
}

/// `GET /v1/events`: those after a number, at most `limit`, at once.
///
/// # Errors
/// [`ClientError`].
pub fn events(socket: &Path, after: u64, limit: usize) -> Result<Events, ClientError> {
    get_json(socket, &format!("/v1/events?after={after}&limit={limit}"))
}

/// The same, waiting for the first one if there is none yet; the gate bounds the wait.
///
/// # Errors
/// [`ClientError`].
pub fn await_events(
    socket: &Path,
    after: u64,
    limit: usize,
    wait: Duration,
) -> Result<Events, ClientError> {
    let path = format!("/v1/events?after={after}&limit={limit}&wait={}", wait.as_secs());
    get_within(socket, &path, wait + PATIENCE)
}

/// The latest events.
///
/// # Errors
/// [`ClientError`].
pub fn latest_events(socket: &Path, count: usize) -> Result<Events, ClientError> {
    get_json(socket, &format!("/v1/events?last={count}"))
}

/// `GET /v1/rules`.
///
/// # Errors
/// [`ClientError`].
pub fn rules(socket: &Path, width: usize) -> Result<Told, ClientError> {
    get_json(socket, &format!("/v1/rules?width={width}"))
}

/// `GET /v1/explain`.
///
/// # Errors
/// [`ClientError`]; what the gate does not know is [`ClientError::Refused`].
pub fn explain(socket: &Path, question: &Question) -> Result<Told, ClientError> {
    get_json(socket, &question.path())
}

/// `GET /v1/flows`: a page of those that match.
///
/// # Errors
/// [`ClientError`].
pub fn flows<'a>(
    socket: &Path,
    query: impl IntoIterator<Item = (&'a str, &'a str)>,
) -> Result<Flows, ClientError> {
    get_json(socket, &with_query("/v1/flows", query))
}

/// `GET /v1/flows/cut`: the latest `limit`.
///
/// # Errors
/// [`ClientError`].
pub fn cuts(socket: &Path, limit: usize) -> Result<Cuts, ClientError> {
    get_json(socket, &format!("/v1/flows/cut?limit={limit}"))
}

/// `GET /v1/health`.
///
/// # Errors
/// [`ClientError`].
pub fn health(socket: &Path) -> Result<Health, ClientError> {
    get_json(socket, "/v1/health")
}

/// `GET /v1/whoami`.
///
/// # Errors
/// [`ClientError`].
pub fn whoami(socket: &Path) -> Result<Whoami, ClientError> {
    get_json(socket, "/v1/whoami")
}

/// How long a policy may take to be read, compiled, tried and taken by every worker.
const RELOAD: Duration = Duration::from_secs(55);

/// `POST /v1/reload`.
///
/// # Errors
/// [`ClientError`]; a policy that does not hold together is [`ClientError::Refused`] with its findings.
pub fn reload(socket: &Path, request: &reload::Request) -> Result<Reloaded, ClientError> {
    let unclear = |error: serde_json::Error| ClientError::Answer(socket.into(), error.to_string());
    let body = serde_json::to_vec(request).map_err(unclear)?;
    let request = hyper::Request::post("/v1/reload")
        .header(hyper::header::CONTENT_TYPE, "application/json")
        .body(Full::from(body));
    ask(socket, request, RELOAD)
}

/// Any path, read into any shape.
///
/// # Errors
/// [`ClientError`].
pub fn get_json<T: DeserializeOwned>(socket: &Path, path: &str) -> Result<T, ClientError> {
    get_within(socket, path, PATIENCE)
}

/// A path with its query: `("/v1/explain", [("from", "a b")])` → `/v1/explain?from=a+b`.
#[must_use]
pub fn with_query<'a>(path: &str, pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish();
    format!("{path}?{query}")
}

fn get_within<T: DeserializeOwned>(
    socket: &Path,
    path: &str,
    patience: Duration,
) -> Result<T, ClientError> {
    ask(socket, hyper::Request::get(path).body(Full::default()), patience)
}

fn ask<T: DeserializeOwned>(
    socket: &Path,
    request: Result<Request, hyper::http::Error>,
    patience: Duration,
) -> Result<T, ClientError> {
    let broken = |error| ClientError::Connection(socket.into(), error);
    let request = request.map_err(|error| ClientError::Answer(socket.into(), error.to_string()))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(broken)?;
    let (status, body) = runtime
        .block_on(async { tokio::time::timeout(patience, fetch(socket, request)).await })
        .map_err(|_| ClientError::Timeout(socket.into(), patience))??;
    let unclear = |error: serde_json::Error| ClientError::Answer(socket.into(), error.to_string());
    if status.is_success() {
        serde_json::from_slice(&body).map_err(unclear)
    } else {
        Err(ClientError::Refused(serde_json::from_slice(&body).map_err(unclear)?))
    }
}

async fn fetch(socket: &Path, mut request: Request) -> Result<(StatusCode, Bytes), ClientError> {
    let http = |error| ClientError::Http(socket.into(), error);
    let stream =
        tokio::net::UnixStream::connect(socket).await.map_err(|error| connect_error(socket, error))?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(http)?;
    request.headers_mut().insert(hyper::header::HOST, hyper::header::HeaderValue::from_static("gate"));
    let answer = async {
        let response = sender.send_request(request).await.map_err(http)?;
        let status = response.status();
        let body = Limited::new(response.into_body(), ANSWER_LIMIT)
            .collect()
            .await
            .map_err(|error| ClientError::Answer(socket.into(), error.to_string()))?;
        Ok((status, body.to_bytes()))
    };
    tokio::pin!(answer, connection);
    // The connection only moves while it is polled; an answer that is complete wins over its close.
    tokio::select! {
        biased;
        done = &mut answer => done,
        closed = &mut connection => match closed {
            Err(error) => Err(http(error)),
            Ok(()) => answer.await,
        },
    }
}

fn connect_error(socket: &Path, error: io::Error) -> ClientError {
    let kind = error.kind();
    if kind == io::ErrorKind::NotFound {
        ClientError::NoSocket(socket.into())
    } else if kind == io::ErrorKind::ConnectionRefused {
        // Linux says the same of a file that is no socket.
        let other = std::fs::metadata(socket).is_ok_and(|file| !file.file_type().is_socket());
        if other { ClientError::NotASocket(socket.into()) } else { ClientError::Dead(socket.into()) }
    } else if kind == io::ErrorKind::PermissionDenied {
        ClientError::Forbidden(socket.into())
    } else {
        ClientError::Connection(socket.into(), error)
    }
}
