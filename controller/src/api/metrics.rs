//! `/metrics`, as Prometheus reads it.

use std::fmt::Write as _;

use axum::{
    extract::State,
    http::header,
    response::{IntoResponse as _, Response},
};

use super::{ApiState, Problem};
use crate::auth::Reader;

/// Shows counters in the Prometheus text format.
#[utoipa::path(get, operation_id = "show_metrics", path = "/metrics", tag = "controller", responses((status = 200, body = String)))]
pub(super) async fn show(
    State(state): State<ApiState>,
    _reader: Reader,
) -> Result<Response, Problem> {
    let gauges = [
        (
            "tombolo_networks",
            "Networks on this controller",
            state.networks.count().await?,
        ),
        (
            "tombolo_connected_nodes",
            "Nodes connected now",
            state.registry.connected() as u64,
        ),
        (
            "tombolo_store_unreachable_seconds",
            "How long the store has not answered; 0 while it does",
            super::outage::seconds(&state).unwrap_or_default(),
        ),
        (
            "tombolo_admitted",
            "Whether the keyring names this replica",
            u64::from(state.signer.is_admitted()),
        ),
        (
            "tombolo_uptime_seconds",
            "Seconds since the controller started",
            state.started.elapsed().as_secs(),
        ),
    ];
    // While the store is away nobody knows.
    let last_backup = match state.store.last_backup().await {
        Err(error) if error.is_outage() => None,
        last => Some((
            "tombolo_last_backup_timestamp_seconds",
            "When the last backup was made, in seconds since 1970; 0 while there is none",
            last?.map_or(0, |backup| backup.made_at),
        )),
    };
    let mut text = String::new();
    for (name, help, value) in gauges.into_iter().chain(last_backup) {
        writeln!(
            text,
            "# HELP {name} {help}\n# TYPE {name} gauge\n{name} {value}"
        )
        .expect("writing to a String never fails");
    }
    let relayed = state.relay.totals();
    writeln!(
        text,
        "# HELP tombolo_relay_clients Members that this controller relays for\n# TYPE tombolo_relay_clients gauge\ntombolo_relay_clients {}",
        relayed.clients
    )
    .expect("writing to a String never fails");
    let counters = [
        ("frames_total", "Frames relayed", relayed.frames),
        ("bytes_total", "Bytes relayed", relayed.bytes),
        (
            "over_budget_total",
            "Frames dropped because a client, or all together, sent more than they may",
            relayed.over_budget,
        ),
        (
            "refused_total",
            "Frames dropped because they were no client's, or went nowhere",
            relayed.malformed
                + relayed.unknown
                + relayed.bad_tag
                + relayed.replayed
                + relayed.unreachable,
        ),
    ];
    for (name, help, value) in counters {
        writeln!(
            text,
            "# HELP tombolo_relay_{name} {help}\n# TYPE tombolo_relay_{name} counter\ntombolo_relay_{name} {value}"
        )
        .expect("writing to a String never fails");
    }
    let kind = "text/plain; version=0.0.4; charset=utf-8";
    Ok(([(header::CONTENT_TYPE, kind)], text).into_response())
}
