//! Signing in at an identity provider, in the browser: its cookies decide whether that works at all.

use serde_json::json;
use tombolo_controller::config::Config;

use crate::{axe::assert_accessible, browser, provider::Provider, rig::Rig};

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn somebody_signs_in_at_another_site_and_is_signed_in_here() {
    let (Some(browser), Some(provider)) = (browser(), Provider::start()) else {
        return;
    };
    let more = "create-users = true\n[[roles]]\nrole = 'viewer'\n";
    let settings = provider.settings(more);
    let rig = Rig::start_with(|config| Config {
        oidc: Some(settings),
        ..config
    })
    .await;
    let base = rig.controller.panel();
    provider.serve(&[base.trim_end_matches('/')]).await;
    let accounts = json!({ "b-17": { "preferred_username": "bob" } });
    provider.change(json!({ "accounts": accounts })).await;

    // Without any session, the first page leads to the form.
    browser.open(&base);
    browser.find("//h1[text()='Sign in']");
    for theme in ["light", "dark"] {
        browser.theme(theme);
        browser.picture(&format!("sign-in-provider-{theme}"));
        assert_accessible(&browser, &format!("sign in with a provider {theme}"));
    }
    browser.click("//a[text()='Sign in with Example ID']");
    // The pages of the provider, which is another site to the browser.
    browser.fill_field("login", "b-17");
    browser.fill_field("password", "x");
    browser.click("//button[@type='submit']");
    browser.click("//button[text()='Continue']");

    // Back here, with a session whose cookie other sites do not make the browser send.
    browser.find("//header//a[contains(., 'bob')]");
    browser.find("//h1[text()='Networks']");
    assert_eq!(browser.run("return location.pathname"), "/");
    assert_eq!(
        browser.run("return document.cookie"),
        "",
        "no script sees it"
    );
    browser.open(&format!("{base}account"));
    browser.find("//*[contains(., 'your account at Example ID')]");
    browser.picture("account-provider");
    assert_accessible(&browser, "account at a provider");

    browser.click("//header//button");
    browser.find("//a[text()='Sign out of Example ID']");
    browser.picture("signed-out-provider");
    assert_accessible(&browser, "signed out");
    // The provider still knows them: one click, and no password.
    browser.click("//a[text()='Sign in with Example ID']");
    browser.find("//h1[text()='Networks']");
    // The provider's own pages are not ours to judge.
    let complaints = browser.complaints();
    let ours: Vec<_> = complaints
        .iter()
        .filter(|entry| entry.contains(&base))
        .collect();
    assert_eq!(ours, Vec::<&String>::new());
}
