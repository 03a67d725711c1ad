//! Which connector of a card, which mode and which CRTC: plain values in, plain values out.

use super::drm_sys::{Connector, Encoder, Mode};

/// `DRM_MODE_TYPE_PREFERRED`: the panel's own.
const PREFERRED: u32 = 1 << 3;

/// `DRM_MODE_CONNECTOR_*` in the kernel's order, as it names connectors in /sys/class/drm.
const KINDS: [&str; 21] = [
    "Unknown",
    "VGA",
    "DVI-I",
    "DVI-D",
    "DVI-A",
    "Composite",
    "SVIDEO",
    "LVDS",
    "Component",
    "DIN",
    "DP",
    "HDMI-A",
    "HDMI-B",
    "TV",
    "eDP",
    "Virtual",
    "DSI",
    "DPI",
    "Writeback",
    "SPI",
    "USB",
];

/// What a user may insist on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct DrmWish<'a> {
    pub connector: Option<&'a str>,
    pub size: Option<(u32, u32)>,
}

/// Where the view goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Route {
    pub connector: u32,
    pub crtc: u32,
    pub mode: Mode,
}

/// `HDMI-A-1`, as in /sys/class/drm.
fn name(connector: &Connector) -> String {
    let kind = KINDS.get(connector.kind as usize).unwrap_or(&"Unknown");
    format!("{kind}-{}", connector.number)
}

/// The wished connector, or the first one with a screen; the wished size, or the screen's own; the CRTC that serves the
/// connector already, or one that nobody uses.
///
/// # Errors
/// In words, with what there is.
pub(super) fn choose(connectors: &[Connector], crtcs: &[u32], wish: &DrmWish) -> Result<Route, String> {
    let all = || connectors.iter().map(|one| format!("{} {}", name(one), state(one))).collect::<Vec<_>>().join(", ");
    let is_usable = |one: &&Connector| one.is_connected && !one.modes.is_empty();
    let connector = match wish.connector {
        Some(wished) => connectors.iter().find(|one| name(one).eq_ignore_ascii_case(wished)).filter(is_usable),
        None => connectors.iter().find(is_usable),
    };
    let connector = connector.ok_or_else(|| {
        let which = wish.connector.map_or("no screen is connected".into(), |wished| format!("no screen at {wished}"));
        let there = if connectors.is_empty() { "the card has no connectors".into() } else { all() };
        format!("{which} ({there}); plug one in, or add video=HDMI-A-1:1280x720@60D to the kernel's command line")
    })?;
    let mode = mode(connector, wish.size)?;
    let crtc = crtc(connector, connectors, crtcs);
    let crtc = crtc.ok_or_else(|| format!("the card's CRTCs all serve other connectors ({})", all()))?;
    Ok(Route { connector: connector.id, crtc, mode })
}

fn state(connector: &Connector) -> &'static str {
    if connector.is_connected { "connected" } else { "free" }
}

fn mode(connector: &Connector, size: Option<(u32, u32)>) -> Result<Mode, String> {
    let fits = |mode: &&Mode| size.is_none_or(|size| size == (mode.width.into(), mode.height.into()));
    let of_size: Vec<&Mode> = connector.modes.iter().filter(fits).collect();
    let best = of_size.iter().find(|mode| mode.kind & PREFERRED != 0).or(of_size.first());
    best.map(|mode| **mode).ok_or_else(|| {
        let mut sizes: Vec<_> = connector.modes.iter().map(|mode| format!("{}x{}", mode.width, mode.height)).collect();
        sizes.dedup();
        format!("{} has no such size; it has {}", name(connector), sizes.join(", "))
    })
}

fn crtc(connector: &Connector, all: &[Connector], crtcs: &[u32]) -> Option<u32> {
    let current = |one: &Connector| {
        one.encoders.iter().find(|encoder| encoder.id == one.encoder && one.encoder != 0).map(|encoder| encoder.crtc)
    };
    if let Some(crtc) = current(connector).filter(|crtc| crtcs.contains(crtc)) {
        return Some(crtc);
    }
    let is_free = |crtc: &u32| !all.iter().any(|other| current(other) == Some(*crtc));
    let possible = |encoder: &Encoder| {
        let set = encoder.possible_crtcs;
        crtcs.iter().take(32).enumerate().filter(move |(bit, _)| set >> bit & 1 == 1).map(|(_, crtc)| *crtc)
    };
    connector.encoders.iter().flat_map(possible).find(is_free)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(width: u16, height: u16, kind: u32) -> Mode {
        Mode { width, height, kind, ..Mode::default() }
    }

    /// An HDMI socket with nothing in it, one with a screen that shows nothing yet, a DSI panel in use.
    fn card() -> Vec<Connector> {
        let encoder = |id, crtc, possible_crtcs| Encoder { id, crtc, possible_crtcs };
        vec![
            Connector { id: 30, kind: 11, number: 1, encoders: vec![encoder(20, 0, 0b11)], ..Connector::default() },
            Connector {
                id: 31,
                kind: 11,
                number: 2,
                is_connected: true,
                modes: vec![mode(1920, 1080, 0), mode(1280, 800, PREFERRED), mode(640, 480, 0)],
                encoder: 0,
                encoders: vec![encoder(21, 0, 0b111)],
            },
            Connector {
                id: 32,
                kind: 16,
                number: 1,
                is_connected: true,
                modes: vec![mode(800, 480, 0)],
                encoder: 22,
                encoders: vec![encoder(22, 10, 0b1)],
            },
        ]
    }

    #[test]
    fn the_first_screen_gets_its_own_size_and_a_crtc_that_nobody_uses() {
        let route = |connector, size| choose(&card(), &[10, 11, 12], &DrmWish { connector, size });
        let places = |route: Result<Route, String>| route.map(|it| (it.connector, it.crtc, it.mode.width)).unwrap();
        assert_eq!(places(route(None, None)), (31, 11, 1280), "CRTC 10 serves the panel");
        assert_eq!(places(route(Some("dsi-1"), None)), (32, 10, 800), "what serves it already goes on");
        assert_eq!(places(route(None, Some((640, 480)))), (31, 11, 640));
        let words = |connector, size| route(connector, size).unwrap_err();
        assert!(
            words(Some("HDMI-A-1"), None).contains("no screen at HDMI-A-1 (HDMI-A-1 free, HDMI-A-2 connected, DSI-1")
        );
        assert!(words(Some("DP-9"), None).contains("no screen at DP-9"));
        assert!(
            words(None, Some((641, 480))).contains("HDMI-A-2 has no such size; it has 1920x1080, 1280x800, 640x480")
        );
        assert!(choose(&[], &[], &DrmWish::default()).unwrap_err().contains("the card has no connectors"));
        assert!(choose(&card(), &[10], &DrmWish::default()).unwrap_err().contains("all serve other connectors"));
    }
}
