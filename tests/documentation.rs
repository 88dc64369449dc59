//! Every command of the programs that the documentation shows is one that they understand.

use std::{fs, path::Path, process::Command};

use tombolo_tests::{overlay::binary, process::Said};

const DOCUMENTS: [&str; 4] = [
    "README.md",
    "README.zh-CN.md",
    "controller/docs/migrating-from-zerotier.md",
    "controller/docs/migrating-from-zerotier.zh-CN.md",
];
/// What stands for something, and something that it may stand for. The rest of such words are names, which may be anything.
const EXAMPLES: [(&str, &str); 9] = [
    ("NET", "8056c2e21c000001"),
    ("ID", "8056c2e21c000001"),
    ("HOST:PORT", "ctl.example.org:9791"),
    ("ADDR", "127.0.0.1:9792"),
    ("SECONDS", "5"),
    ("秒", "5"),
    ("NUMBER", "5"),
    ("PREFIX", "10.0.0.0/24"),
    ("OLD=NEW", "3b1b2c3d4e=89e92ceee5"),
];

#[test]
fn every_command_that_is_shown_is_understood() {
    let mut misunderstood = Vec::new();
    let mut checked = 0;
    for name in DOCUMENTS {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(name);
        let text = fs::read_to_string(path).expect("the document is there");
        for line in commands(&text).iter().flat_map(|shown| variants(shown)) {
            checked += 1;
            if let Err(error) = understand(&line) {
                misunderstood.push(format!("{name}: {line}: {error}"));
            }
        }
    }
    assert!(misunderstood.is_empty(), "{}", misunderstood.join("\n"));
    assert!(checked > 150, "only {checked} commands were found");
}

#[test]
fn what_the_programs_do_not_know_is_found() {
    for line in [
        "tombolo fly",
        "tombolo join --controler HOST:PORT NET",
        "tombolo-controller route ad",
        "tombolo up --port far",
    ] {
        assert!(understand(line).is_err(), "{line}");
    }
    let variants = variants("tombolo x a\\|b [--c N \\| --d]… <e f>");
    assert_eq!(
        variants,
        [
            "tombolo x a --c N NET",
            "tombolo x b --c N NET",
            "tombolo x a --d NET",
            "tombolo x b --d NET",
        ]
    );
}

/// Lines of examples, and what stands between backticks.
fn commands(text: &str) -> Vec<String> {
    let mut found: Vec<&str> = Vec::new();
    let mut is_example = false;
    for line in text.lines() {
        if line.starts_with("```") {
            is_example = !is_example;
        } else if is_example {
            found.extend(line.split("  #").next());
        } else {
            found.extend(line.split('`').skip(1).step_by(2));
        }
    }
    let programs = ["tombolo ", "tombolo-controller "];
    found.retain(|line| programs.iter().any(|program| line.starts_with(program)));
    found.into_iter().map(str::to_owned).collect()
}

/// A line with everything that may be left out, once for each of its alternatives.
fn variants(line: &str) -> Vec<String> {
    let line = in_angles(line).replace('…', "").replace("\\|", "|");
    let mut lines = vec![String::new()];
    for (number, piece) in line.split(['[', ']']).enumerate() {
        let is_option = number % 2 == 1;
        let choices: Vec<&str> = if is_option && piece.contains(" | ") {
            piece.split(" | ").collect()
        } else {
            vec![piece]
        };
        lines = choices
            .iter()
            .flat_map(|choice| lines.iter().map(move |line| format!("{line}{choice}")))
            .collect();
    }
    lines.iter().flat_map(|line| either(line)).collect()
}

/// What is described between angle brackets is a network or a member, and the id of a network may be both.
fn in_angles(line: &str) -> String {
    let mut pieces = line.split('<');
    let mut result = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let (described, rest) = piece.split_once('>').unwrap_or((piece, ""));
        let is_prefix = ["prefix", "前缀"].contains(&described);
        result.push_str(if is_prefix { "PREFIX" } else { "NET" });
        result.push_str(rest);
    }
    result
}

/// One line for each of `a|b`.
fn either(line: &str) -> Vec<String> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let mut lines = vec![Vec::new()];
    for word in words {
        lines = lines
            .iter()
            .flat_map(|line: &Vec<&str>| {
                word.split('|').map(move |choice| {
                    let mut line = line.clone();
                    line.push(choice);
                    line
                })
            })
            .collect();
    }
    lines.iter().map(|line| line.join(" ")).collect()
}

/// Asks the program for help with a line: it looks at all words before, and misses none that is left out.
fn understand(line: &str) -> Result<(), String> {
    let mut words: Vec<&str> = Vec::new();
    for word in line.split_whitespace() {
        let example = EXAMPLES.iter().find(|(meant, _)| *meant == word);
        words.push(match (words.last(), example) {
            (Some(&"--ipv6-subnet"), _) => "fd00::/96",
            (_, Some((_, example))) => example,
            (_, None) => word,
        });
    }
    let program = match words.remove(0) {
        "tombolo" => "node",
        _ => "controller",
    };
    let said = Said::by(Command::new(binary(program)).args(words).arg("--help"));
    match said.code {
        0 => Ok(()),
        _ => Err(said.stderr.lines().next().unwrap_or_default().to_owned()),
    }
}
