//! Lists in pages.

use serde_json::json;
use tombolo_proto::api::{self, Page};

use crate::rig::Rig;

#[tokio::test(flavor = "multi_thread")]
async fn pages_hold_everything_exactly_once_and_the_last_has_no_next() {
    let rig = Rig::start().await;
    for number in 0..5 {
        rig.network(json!({"name": format!("n{number}")})).await;
    }

    let mut seen = Vec::new();
    let mut path = "/networks?limit=2".to_owned();
    let mut pages = 0;
    loop {
        let page: Page<api::Network> = rig.http.get(&path).await.expect_status(200);
        pages += 1;
        seen.extend(page.items.into_iter().map(|network| network.id));
        match page.next {
            Some(next) => path = format!("/networks?limit=2&after={next}"),
            None => break,
        }
    }

    assert_eq!((pages, seen.len()), (3, 5));
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen.len(), 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn members_and_requests_are_paged_together() {
    let rig = Rig::start().await;
    let network = rig.home().await;
    let _member = rig.member(network.id).await;
    let mut waiting = rig.node().await;
    waiting.join(network.id, None).await;
    waiting.expect_pending(network.id).await;
    let members = format!("/networks/{}/members", network.id);

    let first: Page<api::Member> = rig
        .http
        .get(&format!("{members}?limit=1"))
        .await
        .expect_status(200);
    let next = first.next.expect("another page");
    let second: Page<api::Member> = rig
        .http
        .get(&format!("{members}?limit=1&after={next}"))
        .await
        .expect_status(200);

    assert_eq!(second.next, None);
    let authorized = first.items.iter().chain(&second.items);
    assert_eq!(authorized.filter(|member| member.authorized).count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn odd_paging_is_refused() {
    let rig = Rig::start().await;

    for query in ["limit=0", "limit=1001", "limit=x", "after=zzz", "page=2"] {
        rig.http
            .get(&format!("/networks?{query}"))
            .await
            .expect_problem(400, "");
    }
}
