//! Domain values and documents into rows, statement by statement, within a transaction that the caller holds.

use sqlx::AnyConnection;
use tombolo_domain::{
    change::Change,
    managed_route::Route,
    member::{Member, Request},
    network::Network,
    settings::Settings,
};
use tombolo_proto::{config::DirectoryEntry, key::IdentityKey, wire};

use super::{
    access_rules,
    commit::{CommitError, SignedDocument},
    rows,
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

pub(super) async fn apply(
    connection: &mut AnyConnection,
    network: &str,
    change: &Change,
) -> Result<(), CommitError> {
    match change {
        Change::Settings(settings) => update_settings(connection, network, settings).await,
        Change::RequestPut(request) => put_request(connection, network, request).await,
        Change::RequestRemoved(identity) => {
            delete(
                connection,
                "DELETE FROM requests WHERE network = $1 AND identity = $2",
                network,
                identity,
            )
            .await
        }
        Change::MemberPut(member) => put_member(connection, network, member).await,
        Change::MemberRemoved(identity) => {
            delete(
                connection,
                "DELETE FROM members WHERE network = $1 AND identity = $2",
                network,
                identity,
            )
            .await
        }
        Change::RoutePut(route) => put_route(connection, network, route).await,
        Change::RouteRemoved(id) => {
            sqlx::query("DELETE FROM routes WHERE network = $1 AND id = $2")
                .bind(network)
                .bind(i64::from(id.0))
                .execute(connection)
                .await?;
            Ok(())
        }
    }
}

async fn delete(
    connection: &mut AnyConnection,
    statement: &'static str,
    network: &str,
    identity: &IdentityKey,
) -> Result<(), CommitError> {
    sqlx::query(statement)
        .bind(network)
        .bind(&identity.0[..])
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

async fn put_request(
    connection: &mut AnyConnection,
    network: &str,
    request: &Request,
) -> Result<(), CommitError> {
    sqlx::query(
        "INSERT INTO requests (network, identity, node, name, transport, transport_epoch, source, requested_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
         ON CONFLICT (network, identity) DO UPDATE SET name = excluded.name, transport = excluded.transport,
             transport_epoch = excluded.transport_epoch, source = excluded.source,
             requested_at = excluded.requested_at",
    )
    .bind(network)
    .bind(&request.identity.0[..])
    .bind(rows::key(&request.node))
    .bind(request.name.as_str())
    .bind(&request.transport.0[..])
    .bind(i64::from(request.transport_epoch))
    .bind(rows::key(&request.source))
    .bind(rows::int(request.requested_at.0))
    .execute(connection)
    .await?;
    Ok(())
}

async fn put_member(
    connection: &mut AnyConnection,
    network: &str,
    member: &Member,
) -> Result<(), CommitError> {
    sqlx::query(
        "INSERT INTO members (network, identity, node, name, name_key, transport, transport_epoch, state, tags, relay,
             serial, issued_at, not_after)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)
         ON CONFLICT (network, identity) DO UPDATE SET name = excluded.name, name_key = excluded.name_key,
             transport = excluded.transport, transport_epoch = excluded.transport_epoch, state = excluded.state,
             tags = excluded.tags, relay = excluded.relay, serial = excluded.serial, issued_at = excluded.issued_at,
             not_after = excluded.not_after",
    )
    .bind(network)
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
    .execute(&mut *connection)
    .await?;
    delete(
        connection,
        "DELETE FROM member_addresses WHERE network = $1 AND identity = $2",
        network,
        &member.identity,
    )
    .await?;
    for address in &member.addresses {
        sqlx::query(
            "INSERT INTO member_addresses (network, address, identity) VALUES ($1, $2, $3)",
        )
        .bind(network)
        .bind(rows::key(address))
        .bind(&member.identity.0[..])
        .execute(&mut *connection)
        .await?;
    }
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

/// Stores a document; a revocation takes the revoked certificate and what the node announced with it.
pub(super) async fn put_document(
    connection: &mut AnyConnection,
    network: &str,
    document: &SignedDocument,
) -> Result<(), CommitError> {
    let identity = document
        .identity
        .map(|identity| identity.0.to_vec())
        .unwrap_or_default();
    let kind = match &document.entry {
        DirectoryEntry::Network(_) => "network",
        DirectoryEntry::Member(_) => "member",
        DirectoryEntry::Revocation(_) => "revocation",
    };
    if matches!(document.entry, DirectoryEntry::Revocation(_)) {
        for statement in [
            "DELETE FROM documents WHERE network = $1 AND kind = 'member' AND identity = $2",
            "DELETE FROM announcements WHERE network = $1 AND identity = $2",
        ] {
            sqlx::query(statement)
                .bind(network)
                .bind(&identity)
                .execute(&mut *connection)
                .await?;
        }
    }
    sqlx::query(
        "INSERT INTO documents (network, kind, identity, epoch, revision, issued_at, entry)
         VALUES ($1, $2, $3, $4, $5, $6, $7)
         ON CONFLICT (network, kind, identity) DO UPDATE SET epoch = excluded.epoch, revision = excluded.revision,
             issued_at = excluded.issued_at, entry = excluded.entry",
    )
    .bind(network)
    .bind(kind)
    .bind(&identity)
    .bind(rows::int(document.version.epoch.0))
    .bind(rows::int(document.version.revision.0))
    .bind(rows::int(document.issued_at.0))
    .bind(wire::encode(&document.entry))
    .execute(connection)
    .await?;
    Ok(())
}
