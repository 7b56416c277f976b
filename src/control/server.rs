//! The API's thread.
//!
//! Invariants: at most [`CONNECTIONS`] connections are served, others wait in the kernel's backlog; a
//! connection lives [`LIFETIME`] at most, whatever its peer does; every request carries the [`Whoami`]
//! that the kernel vouches for. Cost: one thread with a current-thread runtime.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use axum::{Extension, Router};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use super::answers::Whoami;
use super::routes;
use super::socket::Socket;
use super::view::View;

/// Connections served at once.
pub const CONNECTIONS: usize = 64;
/// The longest a connection lives; longer than the longest wait for events.
const LIFETIME: Duration = Duration::from_mins(1);
/// How long a peer may take to send a request.
const HEADERS: Duration = Duration::from_secs(10);

/// A running API.
#[derive(Debug)]
pub struct Server {
    socket: PathBuf,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Serves a view on a socket.
    ///
    /// # Errors
    /// The system gives no thread or no descriptor.
    pub fn start(socket: Socket, view: View) -> io::Result<Self> {
        let path = socket.path().to_owned();
        let listener = socket.listener()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let listener = {
            let _inside = runtime.enter();
            UnixListener::from_std(listener)?
        };
        let (stop, stopped) = oneshot::channel();
        let thread = thread::Builder::new().name("control".into()).spawn(move || {
            runtime.block_on(serve(listener, routes::router(view), stopped));
            // Connections still open end with the runtime.
            drop(runtime);
            drop(socket);
        })?;
        Ok(Self { socket: path, stop: Some(stop), thread: Some(thread) })
    }

    /// Where it listens.
    #[must_use]
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Stops listening, ends every connection and removes the socket's file.
    pub fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic in there has been reported on stderr already.
            let _ = thread.join();
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.end();
    }
}

async fn serve(listener: UnixListener, router: Router, mut stopped: oneshot::Receiver<()>) {
    let permits = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        tokio::select! {
            _ = &mut stopped => return,
            (stream, permit) = accept(&listener, &permits) => {
                tokio::spawn(connection(stream, router.clone(), permit));
            }
        }
    }
}

/// The next connection, once there is room for one.
async fn accept(
    listener: &UnixListener,
    permits: &Arc<Semaphore>,
) -> (UnixStream, Option<OwnedSemaphorePermit>) {
    // The semaphore is never closed, so there always is a permit.
    let permit = permits.clone().acquire_owned().await.ok();
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return (stream, permit),
            // Out of descriptors, or the peer is gone already: neither gets better by haste.
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}

async fn connection(stream: UnixStream, router: Router, permit: Option<OwnedSemaphorePermit>) {
    let Ok(peer) = stream.peer_cred() else { return };
    let whoami = Whoami { uid: peer.uid(), gid: peer.gid(), pid: peer.pid() };
    let service = TowerToHyperService::new(router.layer(Extension(whoami)));
    let serving = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADERS)
        .max_buf_size(16 << 10)
        .serve_connection(TokioIo::new(stream), service);
    // A peer that breaks off, or stays too long, is nobody's error but its own.
    let _ = tokio::time::timeout(LIFETIME, serving).await;
    drop(permit);
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream as Blocking;
    use std::sync::Barrier;
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;
    use crate::control::answers::{Cuts, Flows, Status, WorkerTook};
    use crate::control::client::{self, ClientError};
    use crate::control::question::{Form, Question};
    use crate::control::reload;
    use crate::control::{Clock, SocketError};
    use crate::flow::limits::HalfOpen;
    use crate::flow::{Bounds, Owner, Region};
    use crate::io::Unwatched;
    use crate::io::memory::{Drain, MemoryQueuePair};
    use crate::policy::Moment;
    use crate::record::{Log, Names, Taken, fixture};
    use crate::worker::{Orders, Worker};

    struct Rig {
        folder: tempfile::TempDir,
        view: View,
        server: Server,
    }

    impl Rig {
        fn up() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let shared = Arc::new(fixture::shared(1));
            fixture::busy(&shared.workers[0].counters);
            let names = Arc::new(Names::default());
            names.learn(&shared.policy.load_full());
            let clock: Clock = Arc::new(|| Moment(fixture::NOON));
            let view = View {
                shared,
                log: Arc::new(Log::new(100)),
                cuts: Arc::default(),
                names,
                clock,
                notes: vec!["copy mode".into()],
            };
            let socket = Socket::claim(&folder.path().join("gate.sock")).unwrap();
            let server = Server::start(socket, view.clone()).unwrap();
            Self { folder, view, server }
        }

        fn path(&self) -> &Path {
            self.server.socket()
        }
    }

    fn refused(answer: Result<serde_json::Value, ClientError>) -> (String, String) {
        match answer {
            Err(ClientError::Refused(problem)) => (problem.error, problem.remedy),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn status_over_the_socket_is_the_status() {
        let rig = Rig::up();
        let status = client::status(rig.path()).unwrap();
        assert_eq!(status, Status { notes: status.notes.clone(), ..rig.view.status() });
        assert_eq!(status.equation().rx, 7);
    }

    #[test]
    fn the_kernel_vouches_for_the_caller() {
        let rig = Rig::up();
        let whoami = client::whoami(rig.path()).unwrap();
        assert_eq!(whoami.uid, rustix::process::getuid().as_raw());
        assert_eq!(whoami.gid, rustix::process::getgid().as_raw());
        assert_eq!(whoami.pid, i32::try_from(std::process::id()).ok());
    }

    #[test]
    fn events_are_paged_by_number() {
        let rig = Rig::up();
        rig.view.log.append(&[fixture::no_rule(), fixture::guarded_ping(), fixture::unreadable()]);
        let page = client::events(rig.path(), 0, 2).unwrap();
        assert_eq!(page.events.iter().map(|event| event.seq).collect::<Vec<_>>(), [1, 2]);
        assert_eq!((page.next, page.missed, page.lost), (2, 0, 0));
        let rest = client::events(rig.path(), page.next, 2).unwrap();
        assert_eq!(rest.events.iter().map(|event| event.seq).collect::<Vec<_>>(), [3]);
        assert_eq!(client::latest_events(rig.path(), 1).unwrap().events, rest.events);
    }

    #[test]
    fn a_reader_who_waits_is_answered_when_an_event_comes() {
        let rig = Rig::up();
        let waiting = std::thread::spawn({
            let path = rig.path().to_owned();
            move || client::await_events(&path, 0, 10, Duration::from_secs(30)).unwrap()
        });
        // The log has a subscriber once the request waits; the bound is only for a broken server.
        for _ in 0..2_000 {
            if rig.view.log.waiting() > 0 {
                break;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        assert_eq!(rig.view.log.waiting(), 1);
        rig.view.log.append(&[fixture::no_rule()]);
        let page = waiting.join().unwrap();
        assert_eq!(page.events.len(), 1);
        assert_eq!(page.next, 1);
    }

    #[test]
    fn a_wait_in_vain_ends_with_an_empty_page() {
        let rig = Rig::up();
        let page = client::await_events(rig.path(), 0, 10, Duration::from_secs(1)).unwrap();
        assert_eq!((page.events.len(), page.next), (0, 0));
    }

    #[test]
    fn what_is_wrong_with_a_request_is_said_with_a_remedy() {
        let rig = Rig::up();
        let get = |path: &str| refused(client::get_json(rig.path(), path));
        assert_eq!(get("/v1/nothing").0, "there is no /v1/nothing");
        assert!(get("/v2/status").1.contains("/v1/status"));
        assert_eq!(get("/v1/events?limit=5000").0, "a page holds 1 to 4096 events");
        assert_eq!(get("/v1/events?wait=31").0, "wait is at most 30 seconds");
        assert_eq!(get("/v1/events?after=1&last=1").0, "after and last exclude each other");
        assert!(get("/v1/events?afer=1").0.contains("afer"));
        assert!(get("/v1/events?after=-1").1.contains("after=NUMBER"));
        assert_eq!(get("/v1/flows?limit=5000").0, "a page holds 1 to 4096 flows");
        assert_eq!(get("/v1/flows/cut?limit=0").0, "a page holds 1 to 4096 flows");
        assert!(get("/v1/flows?zon=cde").1.contains("workload, zone, service, state"));
        assert_eq!(get("/v1/flows?zone=dmz").0, "there is no zone \"dmz\" in the policy in force");
        assert!(get("/v1/flows?state=x").1.contains("half_closed"));
        assert_eq!(get("/v1/flows?after=x").1, "send what `next` said");
    }

    #[test]
    fn flows_and_cuts_are_told_over_the_socket() {
        let rig = Rig::up();
        assert_eq!(client::cuts(rig.path(), 10).unwrap(), Cuts { generation: 1, ..Cuts::default() });
        let cuts = fixture::named(&rig.view.names, [1, 2, 3].map(fixture::cut));
        rig.view.cuts.append(cuts, Taken { generation: 2, complete: true, lost: 0, waiting: 0 });
        let told = client::cuts(rig.path(), 2).unwrap();
        let ports: Vec<_> = told.cuts.iter().map(|cut| cut.from.port).collect();
        assert_eq!((ports, told.kept), (vec![Some(2), Some(3)], 3));
        // Generation 1 is in force: what the list knows of another is not its.
        assert_eq!((told.generation, told.ended, told.swept, told.complete), (1, 0, false, false));

        // A worker that has no flow answers at once; one that does not work is told.
        let shared = Arc::clone(&rig.view.shared);
        let stop = Arc::new(AtomicBool::new(false));
        let orders =
            Orders { policy: Arc::clone(&shared.policy), stop: Arc::clone(&stop), heartbeat: 500_000_000 };
        let worker = Worker::new(
            MemoryQueuePair::new(4, 4, Drain::Keep),
            Unwatched,
            crate::io::clock::Clock::start(),
            (Owner::new(1, (1, 2)), 0),
            (Region::plain(4_096), Bounds::of(4_096), Arc::new(HalfOpen::new(64, (5, 6)))),
            Arc::clone(&shared.workers[0]),
            orders,
        );
        let worker = worker.unwrap();
        std::thread::scope(|scope| {
            scope.spawn(move || drop(worker.run()));
            let flows = client::flows(rig.path(), [("zone", "cde"), ("count", "true")]);
            stop.store(true, Ordering::Relaxed);
            assert_eq!(flows.unwrap(), Flows { generation: 1, ..Flows::default() });
        });
        let (error, _) = refused(client::get_json(rig.path(), "/v1/flows"));
        assert_eq!(error, "the worker of queue 0 does not answer");
    }

    #[test]
    fn the_policy_in_force_explains_itself() {
        let rig = Rig::up();
        let question = Question {
            from: "acquirer-gateway".into(),
            to: "vault-1".into(),
            service: "https".into(),
            width: Some(80),
            ..Question::default()
        };
        let told = client::explain(rig.path(), &question).unwrap();
        assert_eq!((&told.answer["verdict"], &told.answer["generation"]), (&"allow".into(), &1.into()));
        assert!(told.text.starts_with("ALLOW, forwarded"), "{}", told.text);
        assert!(client::rules(rig.path(), 100).unwrap().text.contains("payments-to-vault"));
        let tree = Question { form: Some(Form::Tree), ..question.clone() };
        let drawn = client::explain(rig.path(), &tree).unwrap();
        assert!(drawn.text.contains("\n├─ from"), "{}", drawn.text);
        assert_eq!(drawn.answer, told.answer);
        let nobody = Question { from: "nobody".into(), ..question };
        let (error, remedy) = refused(client::get_json(rig.path(), &nobody.path()));
        assert!(error.contains("nobody") && remedy.contains("portcullis rules"), "{error} {remedy}");
        let get = |path: &str| refused(client::get_json(rig.path(), path)).0;
        assert!(get("/v1/explain?from=a&to=b").contains("service"));
        assert_eq!(get("/v1/rules?width=4"), "width is 40 to 400 columns");
    }

    #[test]
    fn nothing_is_written_through_the_api() {
        let rig = Rig::up();
        let mut stream = Blocking::connect(rig.path()).unwrap();
        stream
            .write_all(
                b"POST /v1/status HTTP/1.1\r\nhost: gate\r\nconnection: close\r\ncontent-length: 0\r\n\r\n",
            )
            .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 405"), "{answer}");
        assert!(answer.contains("this path does not take POST"), "{answer}");
    }

    /// The rig's policy on a disk, with one edit.
    fn on_disk(rig: &Rig, edit: impl Fn(&str) -> String) -> reload::Request {
        for file in &rig.view.shared.policy.load().loaded.sources.files {
            std::fs::write(rig.folder.path().join(&file.name), edit(&file.text)).unwrap();
        }
        reload::Request { policy: Some(rig.folder.path().join("gate.toml")), check: true }
    }

    #[test]
    fn a_policy_is_tried_and_put_in_force_through_the_api() {
        let rig = Rig::up();
        let check = on_disk(&rig, |text| text.replace("tcp/443", "tcp/444"));
        let tried = client::reload(rig.path(), &check).unwrap();
        assert_eq!((tried.policy.generation, tried.workers), (2, None));
        assert!(tried.sampled > 64, "{}", tried.sampled);
        assert_eq!(rig.view.status().policy.generation, 1, "only tried");
        // The rig's worker is not at work.
        let done = client::reload(rig.path(), &reload::Request { check: false, ..check.clone() }).unwrap();
        assert_eq!(done.workers, Some(vec![WorkerTook { queue: 0, nanos: None }]));
        assert_eq!(done.file, check.policy.unwrap().display().to_string());
        assert_eq!(rig.view.status().policy, done.policy);
        assert_ne!(done.policy.digest, crate::control::fixture::status(1).policy.digest);
    }

    #[test]
    fn a_policy_that_does_not_hold_together_comes_back_with_all_its_findings() {
        let rig = Rig::up();
        let check = on_disk(&rig, |text| {
            text.replace("\"https\"", "\"htps\"").replace("env = \"prod\", data", "env = \"prd\", data")
        });
        let request = reload::Request { check: false, ..check };
        let Err(ClientError::Refused(problem)) = client::reload(rig.path(), &request) else {
            panic!("taken")
        };
        assert!(
            problem.error.ends_with("does not hold together; the policy in force stays"),
            "{}",
            problem.error
        );
        let findings = problem.findings.unwrap();
        assert!(findings.text.contains("nothing was loaded"), "{}", findings.text);
        assert!(findings.answer.as_array().unwrap().len() >= 2, "{}", findings.answer);
        assert_eq!(rig.view.status().policy.generation, 1);
        let nowhere = reload::Request { policy: Some("gate.toml".into()), check: true };
        let Err(ClientError::Refused(problem)) = client::reload(rig.path(), &nowhere) else {
            panic!("taken")
        };
        assert_eq!(problem.error, "the path of a policy begins at the root");
    }

    #[test]
    fn only_root_and_the_gates_user_change_anything() {
        let own = rustix::process::geteuid().as_raw();
        assert!(reload::may(0) && reload::may(own));
        assert!(!reload::may(own + 4_711));
    }

    #[test]
    fn a_request_line_without_end_is_not_collected() {
        let rig = Rig::up();
        let mut stream = Blocking::connect(rig.path()).unwrap();
        let flood = vec![b'a'; 1 << 20];
        // The server may close before all is written.
        let _ = stream.write_all(b"GET /").and_then(|()| stream.write_all(&flood));
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        let answer = String::from_utf8_lossy(&answer);
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{answer}");
        client::status(rig.path()).unwrap();
    }

    #[test]
    fn more_connections_than_the_bound_are_all_answered_in_turn() {
        let rig = Rig::up();
        let start = Barrier::new(200);
        let answers: Vec<_> = std::thread::scope(|scope| {
            let ask = || {
                start.wait();
                client::status(rig.path()).map(|status| status.equation().rx)
            };
            let threads: Vec<_> = (0..200).map(|_| scope.spawn(ask)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert_eq!(answers.iter().filter(|rx| matches!(rx, Ok(7))).count(), 200, "{answers:?}");
    }

    #[test]
    fn connections_beyond_the_bound_are_not_served_before_others_end() {
        let rig = Rig::up();
        let idle: Vec<_> = (0..CONNECTIONS).map(|_| Blocking::connect(rig.path()).unwrap()).collect();
        let mut one_more = Blocking::connect(rig.path()).unwrap();
        one_more.write_all(b"GET /v1/whoami HTTP/1.1\r\nhost: gate\r\nconnection: close\r\n\r\n").unwrap();
        one_more.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
        assert!(one_more.read(&mut [0; 64]).is_err(), "served beyond the bound");
        drop(idle);
        one_more.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let mut answer = String::new();
        one_more.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }

    #[test]
    fn stop_ends_those_who_wait_and_takes_the_file_away() {
        let rig = Rig::up();
        let path = rig.path().to_owned();
        assert!(matches!(Socket::claim(&path), Err(SocketError::Live(_))));
        let mut open = Blocking::connect(&path).unwrap();
        client::whoami(&path).unwrap();
        rig.server.stop();
        assert_eq!(open.read(&mut [0; 1]).unwrap(), 0);
        assert_eq!(std::fs::read_dir(rig.folder.path()).unwrap().count(), 0);
        assert!(matches!(client::status(&path), Err(ClientError::NoSocket(_))));
    }

    #[test]
    fn a_file_left_behind_is_told_from_a_missing_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("gate.sock");
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        assert!(matches!(client::status(&path), Err(ClientError::Dead(_))));
        // What never was a socket was not left behind by a gate.
        let file = path.with_file_name("gate.toml");
        std::fs::write(&file, "").unwrap();
        for other in [&file, path.parent().unwrap()] {
            let error = client::status(other).unwrap_err();
            assert_eq!(
                error.to_string(),
                format!("{} is not a socket: no gate answers there", other.display())
            );
        }
    }
}
