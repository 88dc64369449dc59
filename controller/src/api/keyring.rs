//! `/api/v1/keyring`: which replicas may sign. A replica drafts, whoever holds the root key signs, any replica that stays
//! puts it into force.

use std::collections::BTreeSet;

use axum::{extract::State, http::StatusCode};
use data_encoding::HEXLOWER;
use tombolo_domain::{
    compile::compile_all,
    keyring::{self, Edit, KeyringRefusal},
};
use tombolo_proto::{
    api::{Keyring, KeyringDraft, KeyringEdit, Replica, ReplicaState, SignedKeyring},
    config,
    signed::Signed,
    wire,
};

use super::{ApiState, Problem, extract::Json, views};
use crate::auth::{Admin, Reader};

/// A replica says every few seconds that it runs.
pub(super) const SILENT_SECONDS: u64 = 30;

/// Shows the keyring and every replica that registered.
#[utoipa::path(get, operation_id = "show_keyring", path = "/api/v1/keyring", tag = "controller", responses((status = 200, body = Keyring)))]
pub(super) async fn show(
    State(state): State<ApiState>,
    _reader: Reader,
) -> Result<axum::Json<Keyring>, Problem> {
    view(&state).await.map(axum::Json)
}

/// Drafts the next keyring, for the root key to sign.
#[utoipa::path(post, operation_id = "draft_keyring", path = "/api/v1/keyring/draft", tag = "controller", request_body = KeyringEdit,
    responses((status = 200, body = KeyringDraft)))]
pub(super) async fn draft(
    State(state): State<ApiState>,
    _admin: Admin,
    Json(edit): Json<KeyringEdit>,
) -> Result<axum::Json<KeyringDraft>, Problem> {
    state.networks.take_keyring().await?;
    let edit = match (edit.admit_pending, edit.revoke) {
        (true, None) if edit.admit.is_empty() => Edit::AdmitPending,
        (false, Some(key)) if edit.admit.is_empty() => Edit::Revoke(key),
        (false, None) => Edit::Admit(BTreeSet::from_iter(edit.admit)),
        _ => {
            return Err(Problem::invalid(
                "give one of: admit, admit_pending, revoke",
            ));
        }
    };
    let held = state.signer.held();
    let registered = state.store.replicas().await?;
    let next = keyring::draft(&held.keyring, &registered, &edit)?;
    let differs = keyring::differs(&held.keyring, &next);
    Ok(axum::Json(KeyringDraft {
        differs,
        body: HEXLOWER.encode(&wire::encode(&next)),
    }))
}

/// Puts a signed keyring into force. In a new epoch every live document is signed anew by this replica first.
#[utoipa::path(put, operation_id = "replace_keyring", path = "/api/v1/keyring", tag = "controller", request_body = SignedKeyring,
    responses((status = 200, body = Keyring)))]
pub(super) async fn replace(
    State(state): State<ApiState>,
    Admin(actor): Admin,
    Json(new): Json<SignedKeyring>,
) -> Result<axum::Json<Keyring>, Problem> {
    let signed: Signed<config::Keyring> = HEXLOWER
        .decode(new.signed.as_bytes())
        .ok()
        .and_then(|bytes| wire::decode(&bytes).ok())
        .ok_or_else(|| Problem::invalid("`signed` does not hold a signed keyring"))?;
    let signer = &state.signer;
    let next = signer.verify(&signed).map_err(|error| {
        Problem::invalid(format!("the keyring is not this authority's: {error}"))
    })?;
    state.networks.take_keyring().await?;
    let current = signer.held();
    let (old, new) = (current.keyring.version, next.version);
    if new.revision <= old.revision || new.epoch < old.epoch || new.epoch.0 - old.epoch.0 > 1 {
        return Err(overtaken());
    }
    let gone: BTreeSet<_> = current
        .keyring
        .replicas
        .difference(&next.replicas)
        .copied()
        .collect();
    let replaced = if new.epoch == old.epoch {
        if !gone.is_empty() {
            return Err(Problem::invalid(
                "a replica goes by a new epoch only: revoke it",
            ));
        }
        state.store.put_keyring(new, &signed, &actor).await?
    } else {
        if !next.replicas.contains(&signer.replica().public()) {
            return Err(Problem::new(
                StatusCode::CONFLICT,
                "conflict",
                "the new keyring does not name this replica, so it cannot sign the new epoch: ask one that stays, with --url",
            ));
        }
        state
            .store
            .begin_epoch(
                (&next, &signed),
                &gone,
                |network, epoch| signer.sign(network.id(), &compile_all(network, epoch)),
                &actor,
            )
            .await?
    };
    if !replaced {
        return Err(overtaken());
    }
    state.networks.take_keyring().await?;
    state.networks.catch_up().await?;
    view(&state).await.map(axum::Json)
}

fn overtaken() -> Problem {
    Problem::new(
        StatusCode::CONFLICT,
        "conflict",
        "the keyring changed meanwhile: repeat",
    )
}

impl From<KeyringRefusal> for Problem {
    fn from(refusal: KeyringRefusal) -> Self {
        let status = match refusal {
            KeyringRefusal::Unknown(_) | KeyringRefusal::NotAdmitted(_) => StatusCode::NOT_FOUND,
            KeyringRefusal::Revoked(_)
            | KeyringRefusal::Last(_)
            | KeyringRefusal::UsedUp(_)
            | KeyringRefusal::TooMany => StatusCode::CONFLICT,
        };
        Self::new(status, "keyring", refusal.to_string())
    }
}

async fn view(state: &ApiState) -> Result<Keyring, Problem> {
    let held = state.signer.held();
    let known = match state.store.known_replicas().await {
        Err(error) if error.is_outage() => Vec::new(),
        known => known?,
    };
    let this = state.signer.replica().public();
    let replicas = known
        .into_iter()
        .map(|known| Replica {
            key: known.replica.key,
            state: if held.keyring.replicas.contains(&known.replica.key) {
                ReplicaState::Admitted
            } else if known.replica.revoked {
                ReplicaState::Revoked
            } else {
                ReplicaState::Pending
            },
            endpoints: views::endpoints(&known.replica.endpoints),
            version: known.software,
            alive: known.silent_for < SILENT_SECONDS || known.replica.key == this,
            this: known.replica.key == this,
        })
        .collect();
    Ok(Keyring {
        epoch: held.keyring.version.epoch.0,
        revision: held.keyring.version.revision.0,
        root_key: state.signer.root(),
        endpoints: views::endpoints(&held.keyring.endpoints),
        replicas,
        signed: HEXLOWER.encode(&wire::encode(&held.signed)),
    })
}
