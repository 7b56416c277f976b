//! The paths of the API. All but `POST /v1/reload` read; errors are [`Problem`]s.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::extract::{DefaultBodyLimit, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Extension, Json, Router};
use serde::Deserialize;
use tokio::sync::Semaphore;

use super::answers::{Cuts, Events, Flows, Health, Problem, Reloaded, Status, Told, Whoami};
use super::question::{self, BadQuestion, Question, WIDTH};
use super::view::View;
use super::{flows, reload, status};
use crate::io::clock::trusted;

/// Events a page holds at most.
pub(super) const PAGE: usize = 4_096;
/// The longest wait for events, in seconds.
pub(super) const WAIT: u64 = 30;
/// Readers that may wait at once; the rest of the connections stay free for answers. One too many is
/// answered at once, with what there is.
const WAITERS: usize = 32;
/// The longest body of a request: the path of a policy.
const BODY: usize = 64 << 10;

/// Columns a page may have.
const WIDTHS: std::ops::RangeInclusive<usize> = 40..=400;

const PATHS: &str = "GET /v1/status /v1/health /v1/events /v1/flows /v1/flows/cut /v1/rules /v1/explain /v1/whoami, POST \
     /v1/reload";

#[derive(Clone)]
struct Api {
    view: View,
    waiters: Arc<Semaphore>,
}

/// The API over a view.
pub(super) fn router(view: View) -> Router {
    Router::new()
        .route("/v1/status", get(get_status))
        .route("/v1/health", get(get_health))
        .route("/v1/events", get(get_events))
        .route("/v1/rules", get(get_rules))
        .route("/v1/explain", get(get_explain))
        .route("/v1/whoami", get(get_whoami))
        .route("/v1/flows", get(get_flows))
        .route("/v1/flows/cut", get(get_cuts))
        .route("/v1/reload", post(post_reload))
        .fallback(no_such_path)
        .method_not_allowed_fallback(no_such_method)
        .layer(DefaultBodyLimit::max(BODY))
        .with_state(Api { view, waiters: Arc::new(Semaphore::new(WAITERS)) })
}

/// A refusal: its status and what to do.
struct Refusal(StatusCode, Problem);

impl Refusal {
    fn bad_request(error: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self(StatusCode::BAD_REQUEST, Problem::new(error, remedy))
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        (self.0, Json(self.1)).into_response()
    }
}

async fn no_such_path(uri: axum::http::Uri) -> Refusal {
    let error = format!("there is no {}", uri.path());
    Refusal(StatusCode::NOT_FOUND, Problem::new(error, format!("there is {PATHS}")))
}

async fn no_such_method(method: axum::http::Method) -> Refusal {
    let error = format!("this path does not take {method}");
    Refusal(StatusCode::METHOD_NOT_ALLOWED, Problem::new(error, format!("there is {PATHS}")))
}

async fn get_status(State(api): State<Api>) -> Json<Status> {
    Json(api.view.status())
}

async fn get_health(State(api): State<Api>) -> Json<Health> {
    Json(status::health(&api.view.status()))
}

async fn get_whoami(Extension(whoami): Extension<Whoami>) -> Json<Whoami> {
    Json(whoami)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EventsQuery {
    after: Option<u64>,
    last: Option<usize>,
    limit: Option<usize>,
    wait: Option<u64>,
}

async fn get_events(
    State(api): State<Api>,
    query: Result<Query<EventsQuery>, QueryRejection>,
) -> Result<Json<Events>, Refusal> {
    let Query(query) = query.map_err(|error| {
        Refusal::bad_request(
            error.body_text(),
            "the query takes after=NUMBER or last=COUNT, limit=COUNT and wait=SECONDS",
        )
    })?;
    let limit = query.limit.unwrap_or(PAGE);
    if limit == 0 || limit > PAGE || query.last.is_some_and(|last| last > PAGE) {
        return Err(Refusal::bad_request(
            "a page holds 1 to 4096 events",
            "ask for fewer, then for those after `next`",
        ));
    }
    if query.wait.is_some_and(|wait| wait > WAIT) {
        return Err(Refusal::bad_request("wait is at most 30 seconds", "ask again when it has passed"));
    }
    let log = &api.view.log;
    let page = match (query.after, query.last) {
        (Some(_), Some(_)) => {
            return Err(Refusal::bad_request("after and last exclude each other", "give one of them"));
        }
        (None, Some(last)) => log.last(last),
        (after, None) => {
            let after = after.unwrap_or(0);
            if let Some(wait) = query.wait {
                wait_for_events(&api, after, Duration::from_secs(wait)).await;
            }
            log.after(after, limit)
        }
    };
    Ok(Json(api.view.events(&page)))
}

/// Returns once there is an event after `after`, or the time has passed, or too many wait already.
async fn wait_for_events(api: &Api, after: u64, wait: Duration) {
    let Ok(_place) = api.waiters.try_acquire() else { return };
    let mut latest = api.view.log.subscribe();
    // Both ends of this wait are ordinary: the reader gets what there is.
    let _ = tokio::time::timeout(wait, latest.wait_for(|latest| *latest > after)).await;
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RulesQuery {
    width: Option<usize>,
}

async fn get_rules(
    State(api): State<Api>,
    query: Result<Query<RulesQuery>, QueryRejection>,
) -> Result<Json<Told>, Refusal> {
    let Query(query) =
        query.map_err(|error| Refusal::bad_request(error.body_text(), "the query takes width=COLUMNS"))?;
    let width = width_of(query.width)?;
    work(move || {
        let policy = api.view.shared.policy.load();
        question::rules(&policy.loaded, &policy.table, width, trusted((api.view.clock)()))
    })
    .await
}

async fn get_explain(
    State(api): State<Api>,
    query: Result<Query<Question>, QueryRejection>,
) -> Result<Json<Told>, Refusal> {
    let Query(question) = query.map_err(|error| {
        Refusal::bad_request(
            error.body_text(),
            "the query takes from, to and service, and may take mac, vlan, side, width and form=tree",
        )
    })?;
    width_of(question.width)?;
    work(move || {
        let policy = api.view.shared.policy.load();
        question.answer(&policy.loaded, &policy.table, Some(policy.generation), trusted((api.view.clock)()))
    })
    .await
}

async fn get_flows(
    State(api): State<Api>,
    query: Result<Query<flows::Query>, QueryRejection>,
) -> Result<Json<Flows>, Refusal> {
    let Query(query) = query.map_err(|error| {
        let remedy = "the query may take after, limit, workload, zone, service, state and count=true";
        Refusal::bad_request(error.body_text(), remedy)
    })?;
    flow_limit(query.limit)?;
    match tokio::task::spawn_blocking(move || flows::page(&api.view, &query)).await {
        Ok(Ok(page)) => Ok(Json(page)),
        Ok(Err(error @ flows::NoFlows::Look(_))) => {
            let problem = Problem::new(error.to_string(), error.remedy());
            Err(Refusal(StatusCode::SERVICE_UNAVAILABLE, problem))
        }
        Ok(Err(error)) => Err(Refusal::bad_request(error.to_string(), error.remedy())),
        Err(_) => Err(Refusal(
            StatusCode::INTERNAL_SERVER_ERROR,
            Problem::new("the answer was not found", "look at the gate's log"),
        )),
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct CutsQuery {
    limit: Option<usize>,
}

async fn get_cuts(
    State(api): State<Api>,
    query: Result<Query<CutsQuery>, QueryRejection>,
) -> Result<Json<Cuts>, Refusal> {
    let Query(query) =
        query.map_err(|error| Refusal::bad_request(error.body_text(), "the query may take limit=COUNT"))?;
    Ok(Json(flows::cuts(&api.view, flow_limit(query.limit)?)))
}

fn flow_limit(limit: Option<usize>) -> Result<usize, Refusal> {
    let limit = limit.unwrap_or(flows::PAGE);
    if (1..=flows::PAGE).contains(&limit) {
        Ok(limit)
    } else {
        let error = format!("a page holds 1 to {} flows", flows::PAGE);
        Err(Refusal::bad_request(error, "ask for the rest with after=NEXT"))
    }
}

/// Changes what is in force: for root and the gate's own user, whoever else may read.
async fn post_reload(
    State(api): State<Api>,
    Extension(whoami): Extension<Whoami>,
    request: Result<Json<reload::Request>, JsonRejection>,
) -> Result<Json<Reloaded>, Refusal> {
    if !reload::may(whoami.uid) {
        let error = format!("user {} may read this gate, and not change its policy", whoami.uid);
        let remedy = "ask as root or as the gate's own user";
        return Err(Refusal(StatusCode::FORBIDDEN, Problem::new(error, remedy)));
    }
    let Json(request) = request.map_err(|error| {
        Refusal::bad_request(error.body_text(), r#"send {"policy": "/path/gate.toml", "check": false}"#)
    })?;
    match tokio::task::spawn_blocking(move || reload::reload(&api.view, &request)).await {
        Ok(Ok(reloaded)) => Ok(Json(reloaded)),
        Ok(Err((status, problem))) => Err(Refusal(status, problem)),
        Err(_) => Err(Refusal(
            StatusCode::INTERNAL_SERVER_ERROR,
            Problem::new("the reload broke off", "look at the gate's log and at `portcullis status`"),
        )),
    }
}

fn width_of(width: Option<usize>) -> Result<usize, Refusal> {
    let width = width.unwrap_or(WIDTH);
    if WIDTHS.contains(&width) {
        Ok(width)
    } else {
        Err(Refusal::bad_request("width is 40 to 400 columns", "leave it out for 100"))
    }
}

/// What takes long with a large policy is done beside the API's thread, so that status is not held up.
async fn work(
    answer: impl FnOnce() -> Result<Told, BadQuestion> + Send + 'static,
) -> Result<Json<Told>, Refusal> {
    match tokio::task::spawn_blocking(answer).await {
        Ok(Ok(told)) => Ok(Json(told)),
        Ok(Err(error)) => Err(Refusal::bad_request(error.to_string(), error.remedy())),
        Err(_) => Err(Refusal(
            StatusCode::INTERNAL_SERVER_ERROR,
            Problem::new("the answer was not found", "look at the gate's log"),
        )),
    }
}
