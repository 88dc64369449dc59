//! QR codes (ISO/IEC 18004), as SVG.

use std::fmt::Write as _;

use maud::{Markup, PreEscaped};
use qrcode::{Color, EcLevel, QrCode};

/// Light modules around it, as readers need them.
const QUIET: usize = 4;

/// A text as a QR code with a name for those who do not see it; nothing if it is too long for one.
pub(super) fn svg(text: &str, label: &str) -> Option<Markup> {
    let code = QrCode::with_error_correction_level(text, EcLevel::L).ok()?;
    let width = code.width();
    let mut path = String::new();
    for (index, color) in code.to_colors().into_iter().enumerate() {
        if color == Color::Dark {
            let (x, y) = (index % width + QUIET, index / width + QUIET);
            write!(path, "M{x} {y}h1v1h-1z").expect("writing to a String never fails");
        }
    }
    let size = width + 2 * QUIET;
    let svg = maud::html! {
        svg viewBox={ "0 0 " (size) " " (size) } role="img" aria-label=(label) shape-rendering="crispEdges" {
            path d=(path) fill="#000" {}
        }
    };
    Some(PreEscaped(svg.into_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_has_its_three_corners_and_a_name() {
        let svg = svg("tombolo://8056c2e21c000001", "join \"home\"")
            .expect("a code")
            .into_string();

        // The smallest one that holds 26 bytes has 25 modules, and 4 light ones on each side.
        assert!(svg.contains("viewBox=\"0 0 33 33\""), "{svg}");
        for corner in ["M4 4h1", "M28 4h1", "M4 28h1"] {
            assert!(svg.contains(corner), "{svg}");
        }
        assert!(svg.contains("&quot;home&quot;"), "{svg}");
        assert!(super::svg(&"x".repeat(3000), "").is_none());
    }
}
