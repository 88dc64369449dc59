//! What the web API answers to nonsense: always a problem document that says what to do.

use serde_json::json;

use crate::{
    http::Http,
    rig::{Rig, member_path},
};

const JSON: [(&str, &str); 1] = [("content-type", "application/json")];

#[tokio::test(flavor = "multi_thread")]
async fn the_credential_is_checked_before_anything_else() {
    let rig = Rig::start().await;
    let huge = vec![b'x'; 300 * 1024];
    for token in [
        None,
        Some("nonsense"),
        Some("tombolo_000000000000_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"),
    ] {
        let stranger = Http::with_token(rig.controller.http(), token);

        for (method, path, body) in [
            ("GET", "/networks", &b""[..]),
            ("GET", "/networks/nonsense", b""),
            ("GET", "/no/such/path", b""),
            ("GET", "//nowhere", b""),
            ("GET", "//metrics", b""),
            ("PUT", "/networks", b""),
            ("POST", "/networks", b"{"),
            ("POST", "/networks", &huge),
        ] {
            let answer = stranger.send(method, path, &JSON, body.to_vec()).await;
            answer.expect_problem(401, "Authorization: Bearer");
            assert_eq!(answer.header("www-authenticate"), "Bearer");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn paths_and_methods_that_are_not_there() {
    let rig = Rig::start().await;

    rig.http.get("/nope").await.expect_problem(404, "openapi");
    rig.http.get("//nope").await.expect_problem(404, "openapi");
    rig.http
        .send("PUT", "/networks", &[], Vec::new())
        .await
        .expect_problem(405, "method");
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_that_cannot_be_read() {
    let rig = Rig::start().await;
    let post = |headers, body: &[u8]| {
        let body = body.to_vec();
        let http = rig.http.clone();
        async move { http.send("POST", "/networks", headers, body).await }
    };

    post(&JSON, b"{\"name\":")
        .await
        .expect_problem(400, "not JSON");
    post(&JSON, b"").await.expect_problem(400, "not JSON");
    post(&JSON, b"[]").await.expect_problem(422, "does not fit");
    post(&JSON, b"{}")
        .await
        .expect_problem(422, "missing field `name`");
    post(&JSON, b"{\"name\":7}")
        .await
        .expect_problem(422, "invalid type");
    post(&JSON, b"{\"name\":\"x\",\"nmae\":1}")
        .await
        .expect_problem(422, "unknown field");
    post(&JSON, b"{\"name\":\"x\",\"mtu\":70000}")
        .await
        .expect_problem(422, "does not fit");
    post(&[], b"{\"name\":\"x\"}")
        .await
        .expect_problem(415, "application/json");
    post(&[("content-type", "text/plain")], b"{\"name\":\"x\"}")
        .await
        .expect_problem(415, "application/json");
    let oversized = vec![b' '; 256 * 1024 + 1];
    post(&JSON, &oversized)
        .await
        .expect_problem(413, "262144 bytes");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chunked_body_that_is_too_long_is_cut_off() {
    use std::io::{Read as _, Write as _};
    let rig = Rig::start().await;
    let token = std::fs::read_to_string(rig.state.path().join("admin.token")).expect("a token");
    let address = rig.controller.http();

    let answer = tokio::task::spawn_blocking(move || {
        let mut stream = std::net::TcpStream::connect(address).expect("a connection");
        let head = format!(
            "POST /api/v1/networks HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\n\
             content-type: application/json\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n",
            token.trim()
        );
        stream.write_all(head.as_bytes()).expect("it reads");
        let chunk = [b"10000\r\n".as_slice(), &[b' '; 0x10000], b"\r\n"].concat();
        for _ in 0..5 {
            if stream.write_all(&chunk).is_err() {
                break;
            }
        }
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).expect("an answer");
        answer
    })
    .await
    .expect("the client runs");

    assert_eq!(&answer, b"HTTP/1.1 413");
}

#[tokio::test(flavor = "multi_thread")]
async fn path_parameters_that_make_no_sense() {
    let rig = Rig::start().await;
    let network = rig.home().await;
    let id = network.id;
    let unknown = format!("{}000001", id.authority());

    rig.http
        .get("/networks/xyz")
        .await
        .expect_problem(400, "16 hex digits");
    rig.http
        .get(&format!("/networks/{unknown}"))
        .await
        .expect_problem(404, "no such network");
    rig.http
        .patch(&format!("/networks/{id}/members/zz"), json!({}))
        .await
        .expect_problem(400, "10 hex digits");
    rig.http
        .patch(
            &format!("/networks/{id}/members/89e92ceee5"),
            json!({"authorized": true}),
        )
        .await
        .expect_problem(404, "no such member");
    rig.http
        .get(&format!("/networks/{id}/routes/zz"))
        .await
        .expect_problem(400, "8 hex digits");
    rig.http
        .delete(&format!("/networks/{id}/routes/00000001"))
        .await
        .expect_problem(404, "no such route");
    rig.http.get("/networks/%ff").await.expect_problem(400, "");
}

#[tokio::test(flavor = "multi_thread")]
async fn networks_that_cannot_be() {
    let rig = Rig::start().await;
    rig.home().await;

    for (body, status, text) in [
        (json!({"name": "HOME"}), 409, "another network"),
        (json!({"name": ""}), 422, "1 to 63"),
        (json!({"name": "a b"}), 422, "letters, digits"),
        (json!({"name": "89e92ceee5"}), 422, "reads like an id"),
        (
            json!({"name": "x", "v4": "fc00::/64"}),
            422,
            "IPv6 prefix where an IPv4",
        ),
        (
            json!({"name": "x", "v4": "172.27.0.0"}),
            422,
            "not a prefix",
        ),
        (
            json!({"name": "x", "v4": "172.27.0.0/31"}),
            422,
            "too small",
        ),
        (json!({"name": "x", "v4": "127.0.0.0/16"}), 422, "loopback"),
        (
            json!({"name": "x", "v4": "10.240.0.0/16"}),
            409,
            "subnet pool",
        ),
        (json!({"name": "x", "mtu": 1000}), 422, "MTU"),
        (
            json!({"name": "x", "v6_modes": ["teredo"]}),
            422,
            "does not fit",
        ),
        (
            json!({"name": "x", "subnet_pools": ["nonsense"]}),
            422,
            "not a prefix",
        ),
        (
            json!({"name": "x", "v4_pools": [{"start": "10.0.0.9", "end": "10.0.0.1"}]}),
            422,
            "ends before it starts",
        ),
        (
            json!({"name": "x", "v4_pools": [{"start": "10.0.0.1", "end": "10.0.0.9"}, {"start": "10.0.0.9", "end": "10.0.0.12"}]}),
            409,
            "overlap",
        ),
    ] {
        rig.http
            .post("/networks", body)
            .await
            .expect_problem(status, text);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn routes_that_cannot_be() {
    let rig = Rig::start().await;
    let network = rig.home().await;
    let first = rig.member(network.id).await;
    let second = rig.member(network.id).await;
    let routes = format!("/networks/{}/routes", network.id);
    let own_80 = format!(
        "{}",
        tombolo_proto::sixplane::member(network.id, first.address)
    );
    let _: serde_json::Value = rig
        .http
        .post(
            &routes,
            json!({"target": "172.28.0.0/24", "via": first.address}),
        )
        .await
        .expect_status(201);

    let via = second.address;
    for (body, status, text) in [
        (
            json!({"target": "172.28.0.0/24", "via": via}),
            409,
            "failover",
        ),
        (
            json!({"target": "172.28.0.0/24", "via": via, "mode": "failover"}),
            409,
            "failover",
        ),
        (
            json!({"target": "172.28.0.9/24", "via": first.address}),
            409,
            "already",
        ),
        (
            json!({"target": "172.27.5.0/24", "via": via}),
            409,
            "overlaps the pool",
        ),
        (
            json!({"target": "172.16.0.0/12", "via": via}),
            409,
            "overlaps the pool",
        ),
        (
            json!({"target": own_80, "via": first.address}),
            409,
            "automatic IPv6 range",
        ),
        (
            json!({"target": "169.254.0.0/16", "via": via}),
            422,
            "link-local",
        ),
        (
            json!({"target": "172.29.0.0", "via": via}),
            422,
            "not a prefix",
        ),
        (
            json!({"target": "172.29.0.0/24", "via": "172.27.77.77"}),
            404,
            "no such member",
        ),
        (
            json!({"target": "172.29.0.0/24", "via": "nobody"}),
            404,
            "no such member",
        ),
        (
            json!({"target": "172.29.0.0/24"}),
            422,
            "missing field `via`",
        ),
        (
            json!({"target": "172.29.0.0/24", "via": via, "mode": "x"}),
            422,
            "does not fit",
        ),
    ] {
        rig.http
            .post(&routes, body)
            .await
            .expect_problem(status, text);
    }
    for accepted in [
        "172.28.0.0/25",
        "172.28.0.0/16",
        "0.0.0.0/0",
        "2001:db8:7::/48",
    ] {
        let _: serde_json::Value = rig
            .http
            .post(&routes, json!({"target": accepted, "via": via}))
            .await
            .expect_status(201);
    }
    rig.http
        .patch(
            &format!("/networks/{}", network.id),
            json!({"v4": "172.28.0.0/15"}),
        )
        .await
        .expect_problem(409, "overlaps the route");
    rig.http
        .patch(
            &format!("/networks/{}", network.id),
            json!({"v4": "172.31.0.0/16"}),
        )
        .await
        .expect_problem(409, "outside the new pools");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_pool_says_so_and_what_to_do() {
    let rig = Rig::start().await;
    let network = rig
        .network(json!({"name": "tiny", "v4": "10.9.0.0/30"}))
        .await;
    let _first = rig.member(network.id).await;
    let _second = rig.member(network.id).await;
    let mut third = rig.node().await;
    third.join(network.id, None).await;
    third.expect_pending(network.id).await;

    rig.http
        .patch(
            &member_path(network.id, &third),
            json!({"authorized": true}),
        )
        .await
        .expect_problem(409, "add a pool");
}

#[tokio::test(flavor = "multi_thread")]
async fn expired_and_foreign_join_tokens_are_denied() {
    let rig = Rig::start().await;
    let network = rig.home().await;
    let other = rig.network(json!({"name": "other"})).await;
    let tokens = format!("/networks/{}/join-tokens", other.id);
    let foreign: tombolo_proto::api::CreatedToken =
        rig.http.post(&tokens, json!({})).await.expect_status(201);
    let mut node = rig.node().await;

    for token in [foreign.token.as_str(), "tombolo_nonsense", "x"] {
        node.join(network.id, Some(token)).await;
        node.expect_denied(network.id, "ask for a new one").await;
    }

    rig.http
        .post(&tokens, json!({"uses": 0}))
        .await
        .expect_problem(422, "uses must be");
    rig.http
        .post(&tokens, json!({"expires_in": 0}))
        .await
        .expect_problem(422, "expires_in must be");
    rig.http
        .delete(&format!("{tokens}/nope"))
        .await
        .expect_problem(404, "no such join token");
}

#[tokio::test(flavor = "multi_thread")]
async fn api_tokens_that_cannot_be() {
    let rig = Rig::start().await;

    for (body, status, text) in [
        (json!({"name": "x", "scopes": []}), 422, "scopes must hold"),
        (
            json!({"name": "x", "scopes": ["root"]}),
            422,
            "is not a scope",
        ),
        (json!({"name": "", "scopes": ["read"]}), 422, "1 to 63"),
        (
            json!({"name": "first-admin", "scopes": ["read"]}),
            409,
            "another token",
        ),
        (
            json!({"name": "x", "scopes": ["read"], "expires_in": 0}),
            422,
            "expires_in must be 1",
        ),
    ] {
        rig.http
            .post("/tokens", body)
            .await
            .expect_problem(status, text);
    }
    rig.http
        .delete("/tokens/nope")
        .await
        .expect_problem(404, "no such token");
}
