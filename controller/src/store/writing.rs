//! Domain values and documents into rows, within a transaction that the caller holds.

use std::mem;

use sqlx::{AnyConnection, AssertSqlSafe};
use tombolo_domain::{
    change::Change,
    managed_route::{Route, RouteId},
    member::{Member, Request},
    network::Network,
    settings::Settings,
};
use tombolo_proto::{config::DirectoryEntry, key::IdentityKey, wire};

use super::{
    access_rules,
    commit::{CommitError, SignedDocument},
    many, rows,
};

pub(super) async fn insert_network(
    connection: &mut AnyConnection,
    network: &Network,
) -> Result<u64, CommitError> {
    let settings = network.settings();
    sqlx::query(
        "INSERT INTO networks (id, number, name, name_key, private, mtu, v4_ranges, on_link, subnet_pools, v6_modes,
             member_routes, access_rules, revision, sequence)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, 1)",
    )
    .bind(rows::key(&network.id()))
    .bind(i64::from(network.id().number()))
    .bind(settings.name.as_str())
    .bind(settings.name.key())
    .bind(i64::from(settings.private))
    .bind(i64::from(settings.mtu.0))
    .bind(rows::to_json(&settings.v4.ranges()))
    .bind(rows::to_json(settings.v4.on_link()))
    .bind(rows::to_json(&settings.subnet_pools))
    .bind(rows::to_json(&settings.v6_modes))
    .bind(rows::member_routes(settings.member_routes))
    .bind(access_rules::to_text(&settings.rules))
    .bind(rows::int(network.revision().0))
    .execute(connection)
    .await?;
    Ok(1)
}

/// Changes in their order; neighbours of one kind together.
pub(super) async fn apply(
    connection: &mut AnyConnection,
    network: &str,
    changes: &[Change],
) -> Result<(), CommitError> {
    for alike in changes.chunk_by(|one, next| mem::discriminant(one) == mem::discriminant(next)) {
        let (mut members, mut requests) = (Vec::new(), Vec::new());
        for change in alike {
            match change {
                Change::MemberPut(member) => members.push(member),
                Change::RequestPut(request) => requests.push(request),
                Change::Settings(settings) => {
                    update_settings(connection, network, settings).await?;
                }
                Change::RequestRemoved(identity) => {
                    delete(connection, "requests", network, identity).await?;
                }
                Change::MemberRemoved(identity) => {
                    delete(connection, "members", network, identity).await?;
                }
                Change::RoutePut(route) => put_route(connection, network, route).await?,
                Change::RouteRemoved(id) => remove_route(connection, network, *id).await?,
            }
        }
        for run in many::runs(&members, |member| member.identity) {
            put_members(connection, network, run).await?;
        }
        for run in many::runs(&requests, |request| request.identity) {
            put_requests(connection, network, run).await?;
        }
    }
    Ok(())
}

async fn delete(
    connection: &mut AnyConnection,
    table: &'static str,
    network: &str,
    identity: &IdentityKey,
) -> Result<(), CommitError> {
    let statement = format!("DELETE FROM {table} WHERE network = $1 AND identity = $2");
    sqlx::query(AssertSqlSafe(statement))
        .bind(network)
        .bind(&identity.0[..])
        .execute(connection)
        .await?;
    Ok(())
}

async fn remove_route(
    connection: &mut AnyConnection,
    network: &str,
    id: RouteId,
) -> Result<(), CommitError> {
    sqlx::query("DELETE FROM routes WHERE network = $1 AND id = $2")
        .bind(network)
        .bind(i64::from(id.0))
        .execute(connection)
        .await?;
    Ok(())
}

async fn update_settings(
    connection: &mut AnyConnection,
    network: &str,
    settings: &Settings,
) -> Result<(), CommitError> {
    sqlx::query(
        "UPDATE networks SET name = $1, name_key = $2, private = $3, mtu = $4, v4_ranges = $5, on_link = $6,
             subnet_pools = $7, v6_modes = $8, member_routes = $9, access_rules = $10
         WHERE id = $11",
    )
    .bind(settings.name.as_str())
    .bind(settings.name.key())
    .bind(i64::from(settings.private))
    .bind(i64::from(settings.mtu.0))
    .bind(rows::to_json(&settings.v4.ranges()))
    .bind(rows::to_json(settings.v4.on_link()))
    .bind(rows::to_json(&settings.subnet_pools))
    .bind(rows::to_json(&settings.v6_modes))
    .bind(rows::member_routes(settings.member_routes))
    .bind(access_rules::to_text(&settings.rules))
    .bind(network)
    .execute(connection)
    .await?;
    Ok(())
}

async fn put_requests(
    connection: &mut AnyConnection,
    network: &str,
    requests: &[&Request],
) -> Result<(), CommitError> {
    let statement = (
        "INSERT INTO requests (network, identity, node, name, transport, transport_epoch, source, requested_at) VALUES",
        8,
        "ON CONFLICT (network, identity) DO UPDATE SET name = excluded.name, transport = excluded.transport,
             transport_epoch = excluded.transport_epoch, source = excluded.source,
             requested_at = excluded.requested_at",
    );
    many::execute(connection, statement, requests, |row, request| {
        row.bind(network.to_owned())
            .bind(&request.identity.0[..])
            .bind(rows::key(&request.node))
            .bind(request.name.as_str())
            .bind(&request.transport.0[..])
            .bind(i64::from(request.transport_epoch))
            .bind(rows::key(&request.source))
            .bind(rows::int(request.requested_at.0))
    })
    .await?;
    Ok(())
}

async fn put_members(
    connection: &mut AnyConnection,
    network: &str,
    members: &[&Member],
) -> Result<(), CommitError> {
    let statement = (
        "INSERT INTO members (network, identity, node, name, name_key, transport, transport_epoch, state, tags, relay,
             serial, issued_at, not_after) VALUES",
        13,
        "ON CONFLICT (network, identity) DO UPDATE SET name = excluded.name, name_key = excluded.name_key,
             transport = excluded.transport, transport_epoch = excluded.transport_epoch, state = excluded.state,
             tags = excluded.tags, relay = excluded.relay, serial = excluded.serial, issued_at = excluded.issued_at,
             not_after = excluded.not_after",
    );
    many::execute(connection, statement, members, |row, member| {
        row.bind(network.to_owned())
            .bind(&member.identity.0[..])
            .bind(rows::key(&member.node))
            .bind(member.name.as_str())
            .bind(member.name.key())
            .bind(&member.transport.0[..])
            .bind(i64::from(member.transport_epoch))
            .bind(rows::member_state(member.state))
            .bind(rows::to_json(&member.tags))
            .bind(i64::from(member.relay))
            .bind(rows::int(member.serial.0))
            .bind(rows::int(member.issued_at.0))
            .bind(rows::int(member.not_after.0))
    })
    .await?;
    let statement = (
        "DELETE FROM member_addresses WHERE (network, identity) IN (VALUES",
        2,
        ")",
    );
    many::execute(connection, statement, members, |row, member| {
        row.bind(network.to_owned()).bind(&member.identity.0[..])
    })
    .await?;
    let addresses: Vec<_> = members
        .iter()
        .flat_map(|member| member.addresses.iter().map(|address| (*member, address)))
        .collect();
    let statement = (
        "INSERT INTO member_addresses (network, address, identity) VALUES",
        3,
        "",
    );
    many::execute(
        connection,
        statement,
        &addresses,
        |row, (member, address)| {
            row.bind(network.to_owned())
                .bind(rows::key(address))
                .bind(&member.identity.0[..])
        },
    )
    .await?;
    Ok(())
}

async fn put_route(
    connection: &mut AnyConnection,
    network: &str,
    route: &Route,
) -> Result<(), CommitError> {
    sqlx::query(
        "INSERT INTO routes (id, network, target, via, mode, metric, state, by_member)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
         ON CONFLICT (network, id) DO UPDATE SET mode = excluded.mode, metric = excluded.metric,
             state = excluded.state",
    )
    .bind(i64::from(route.id.0))
    .bind(network)
    .bind(rows::key(&route.target))
    .bind(&route.via.0[..])
    .bind(rows::route_mode(route.mode))
    .bind(i64::from(route.metric))
    .bind(rows::route_state(route.state))
    .bind(i64::from(route.by_member))
    .execute(connection)
    .await?;
    Ok(())
}

/// Stores documents in their order; a revocation takes the revoked certificate and what the node announced with it.
pub(super) async fn put_documents(
    connection: &mut AnyConnection,
    network: &str,
    documents: &[SignedDocument],
) -> Result<(), CommitError> {
    // A revocation deletes what may have been written just before.
    for alike in documents.chunk_by(|one, next| !is_revocation(one) && !is_revocation(next)) {
        for revoked in alike.iter().filter(|document| is_revocation(document)) {
            take_back(connection, network, revoked).await?;
        }
        for run in many::runs(alike, |document| (kind(document), document.identity)) {
            insert_documents(connection, network, run).await?;
        }
    }
    Ok(())
}

async fn take_back(
    connection: &mut AnyConnection,
    network: &str,
    revoked: &SignedDocument,
) -> Result<(), CommitError> {
    for statement in [
        "DELETE FROM documents WHERE network = $1 AND kind = 'member' AND identity = $2",
        "DELETE FROM announcements WHERE network = $1 AND identity = $2",
    ] {
        sqlx::query(statement)
            .bind(network)
            .bind(owner(revoked))
            .execute(&mut *connection)
            .await?;
    }
    Ok(())
}

async fn insert_documents(
    connection: &mut AnyConnection,
    network: &str,
    documents: &[SignedDocument],
) -> Result<(), CommitError> {
    let statement = (
        "INSERT INTO documents (network, kind, identity, epoch, revision, issued_at, entry) VALUES",
        7,
        "ON CONFLICT (network, kind, identity) DO UPDATE SET epoch = excluded.epoch, revision = excluded.revision,
             issued_at = excluded.issued_at, entry = excluded.entry",
    );
    many::execute(connection, statement, documents, |row, document| {
        row.bind(network.to_owned())
            .bind(kind(document))
            .bind(owner(document))
            .bind(rows::int(document.version.epoch.0))
            .bind(rows::int(document.version.revision.0))
            .bind(rows::int(document.issued_at.0))
            .bind(wire::encode(&document.entry))
    })
    .await?;
    Ok(())
}

const fn is_revocation(document: &SignedDocument) -> bool {
    matches!(document.entry, DirectoryEntry::Revocation(_))
}

const fn kind(document: &SignedDocument) -> &'static str {
    match &document.entry {
        DirectoryEntry::Network(_) => "network",
        DirectoryEntry::Member(_) => "member",
        DirectoryEntry::Revocation(_) => "revocation",
    }
}

fn owner(document: &SignedDocument) -> Vec<u8> {
    document
        .identity
        .map(|identity| identity.0.to_vec())
        .unwrap_or_default()
}
