//! Accessibility, judged by axe-core (`make browser-tools` gets it).

use std::{io::Write as _, path::Path, sync::OnceLock};

use tombolo_tests::browser::Browser;

/// The script, where the tools of the Makefile are; none, and said loudly, if it is not there.
fn script() -> Option<&'static str> {
    static SCRIPT: OnceLock<Option<String>> = OnceLock::new();
    let read = || {
        let target = Path::new(env!("CARGO_TARGET_TMPDIR"))
            .parent()
            .expect("a target directory");
        let path = target.join("tools/axe/axe_playwright_python/axe.min.js");
        let script = std::fs::read_to_string(path).ok();
        if script.is_none() {
            let complaint =
                "NOT TESTED: accessibility, because axe-core is missing (make browser-tools)";
            assert!(std::env::var_os("CI").is_none(), "{complaint}");
            // Past the capture of the test runner.
            let _ = writeln!(std::io::stdout().lock(), "{complaint}");
        }
        script
    };
    SCRIPT.get_or_init(read).as_deref()
}

/// The open page breaks no rule.
#[track_caller]
pub(crate) fn assert_accessible(browser: &Browser, page: &str) {
    let Some(script) = script() else { return };
    browser.run(script);
    let found = browser.run_async(
        "const done = arguments[arguments.length - 1];
         axe.run(document).then(
             (found) => done(found.violations.flatMap((rule) => rule.nodes.map((node) => `${rule.id}: ${node.html}: ${node.failureSummary}`))),
             (error) => done([String(error)]));",
    );
    assert_eq!(found, serde_json::json!([]), "{page}");
}
