//! `/`: says what this is to somebody who opens it in a browser.

use axum::response::Html;

const PAGE: &str = r#"<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Tombolo controller</title>
<style>
body { font: 16px/1.5 system-ui, sans-serif; max-width: 40rem; margin: 3rem auto; padding: 0 1rem; }
code { background: #8883; padding: .1em .3em; border-radius: .2em; }
</style>
</head>
<body>
<h1>Tombolo controller</h1>
<p>This is the controller of a Tombolo overlay network. It is managed with the <code>controller</code> command
on this host, or through the web API described in <a href="/api/v1/openapi.json">/api/v1/openapi.json</a>.</p>
<p>The first API token is in <code>admin.token</code> in the controller's state directory.</p>
</body>
</html>
"#;

pub(super) async fn show() -> Html<&'static str> {
    std::future::ready(Html(PAGE)).await
}
