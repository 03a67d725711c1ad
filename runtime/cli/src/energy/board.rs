//! Board profiles: those of `targets/`, which are a part of the binary, or one from a file.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, anyhow};
use serde::Deserialize;
use tinysaver_core::energy::{PowerModel, PowerProfile};

use crate::config::parse_toml;

/// Name and text of the profiles in the binary.
const PROFILES: [(&str, &str); 6] = [
    ("pi5", include_str!("../../../../targets/pi5.toml")),
    ("pi4", include_str!("../../../../targets/pi4.toml")),
    ("pi-zero-2w", include_str!("../../../../targets/pi-zero-2w.toml")),
    ("jetson-orin", include_str!("../../../../targets/jetson-orin.toml")),
    ("jetson-nano", include_str!("../../../../targets/jetson-nano.toml")),
    ("generic-x86_64", include_str!("../../../../targets/generic-x86_64.toml")),
];

/// Where Linux says what board this is.
const MODEL_FILE: &str = "proc/device-tree/model";

/// A profile as `targets/README.md` describes it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(
    dead_code,
    reason = "a profile has keys for the build and for tests, too; they are read to find misspelt ones"
)]
struct Profile {
    name: String,
    #[serde(default)]
    device_tree: Vec<String>,
    #[serde(default)]
    triples: Vec<String>,
    oldest_glibc: Option<String>,
    #[serde(default)]
    cpu: Cpu,
    #[serde(default)]
    power: Power,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "see the profile's")]
struct Cpu {
    core: Option<String>,
    cores: Option<u32>,
    #[serde(default)]
    features: Vec<String>,
    kernels: Option<String>,
    emulated_as: Option<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "see the profile's")]
struct Power {
    sensor: Option<String>,
    modelled: Option<PowerProfile>,
}

/// A board by its profile.
#[derive(Debug, Clone)]
pub struct Board {
    /// What sources of energy call it: the profile's file name without its end.
    pub name: Arc<str>,
    profile: Profile,
}

impl Board {
    /// The board that was asked for (a name, a file, or `none`), or else the one that this is, if there is a profile of it.
    ///
    /// # Errors
    /// No profile of that name, or a file that cannot be read or is no profile.
    pub fn find(wanted: Option<&str>, root: &Path) -> Result<Option<Self>> {
        match wanted {
            None => Ok(Self::detect(root)),
            Some("none") => Ok(None),
            Some(name) if name.contains('/') || name.ends_with(".toml") => Self::read(Path::new(name)).map(Some),
            Some(name) => match PROFILES.iter().find(|(known, _)| *known == name) {
                Some((name, text)) => Self::parse(name, Path::new(name), text).map(Some),
                None => {
                    let known = PROFILES.map(|(name, _)| name).join(", ");
                    Err(anyhow!("no board '{name}': one of {known}, the path of a profile, or none"))
                }
            },
        }
    }

    /// The board by what the device tree calls it, which begins with a text that the profile names.
    fn detect(root: &Path) -> Option<Self> {
        let model = fs::read_to_string(root.join(MODEL_FILE)).ok()?;
        let boards = PROFILES.iter().filter_map(|(name, text)| Self::parse(name, Path::new(name), text).ok());
        let mut fitting = boards.filter(|board| board.profile.device_tree.iter().any(|start| model.starts_with(start)));
        fitting.next()
    }

    fn read(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).with_context(|| format!("board profile {}", path.display()))?;
        let name = path.file_stem().unwrap_or(path.as_os_str()).to_string_lossy();
        Self::parse(&name, path, &text)
    }

    fn parse(name: &str, path: &Path, text: &str) -> Result<Self> {
        Ok(Self { name: name.into(), profile: parse_toml(path, text).context("board profile")? })
    }

    /// Its name for people.
    pub fn title(&self) -> &str {
        &self.profile.name
    }

    /// How many cores it has.
    pub fn cores(&self) -> Option<u32> {
        self.profile.cpu.cores
    }

    /// The model of its power; `None` where the profile has none.
    ///
    /// # Errors
    /// Figures that are missing or contradict each other.
    pub fn power_model(&self) -> Result<Option<PowerModel>> {
        let Some(modelled) = &self.profile.power.modelled else { return Ok(None) };
        let model = PowerModel::new(modelled, self.profile.cpu.cores.unwrap_or(0));
        model.map(Some).with_context(|| format!("board profile {}: [power.modelled]", self.name))
    }

    /// Who measured what the model was made of.
    pub fn model_source(&self) -> Option<&str> {
        self.profile.power.modelled.as_ref().map(|modelled| modelled.source.as_str())
    }

    /// Who measured camera and display.
    pub fn attached_source(&self) -> Option<&str> {
        self.profile.power.modelled.as_ref()?.attached_source.as_deref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root(model: &str) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("proc/device-tree")).unwrap();
        fs::write(root.path().join(MODEL_FILE), model).unwrap();
        root
    }

    #[test]
    fn boards_are_known_by_what_their_device_tree_says() {
        for (model, name) in [
            ("Raspberry Pi 4 Model B Rev 1.2\0", "pi4"),
            ("Raspberry Pi 5 Model B Rev 1.0\0", "pi5"),
            ("Raspberry Pi Zero 2 W Rev 1.0\0", "pi-zero-2w"),
            ("NVIDIA Jetson Nano Developer Kit\0", "jetson-nano"),
            ("NVIDIA Orin Nano Developer Kit\0", "jetson-orin"),
            ("NVIDIA Jetson Orin Nano Engineering Reference Developer Kit Super\0", "jetson-orin"),
        ] {
            let board = Board::find(None, root(model).path()).unwrap().unwrap();
            assert_eq!(&*board.name, name, "{model}");
        }
        assert!(Board::find(None, root("Raspberry Pi 400 Rev 1.0\0").path()).unwrap().is_none());
        assert!(Board::find(None, Path::new("/no/such/root")).unwrap().is_none());
        assert!(Board::find(Some("none"), root("Raspberry Pi 5\0").path()).unwrap().is_none());
    }

    #[test]
    fn every_profile_of_the_binary_can_be_read_and_models_what_it_claims() {
        for (name, _) in PROFILES {
            let board = Board::find(Some(name), Path::new("/")).unwrap().unwrap();
            let model = board.power_model().unwrap();
            assert_eq!(model.is_some(), board.model_source().is_some(), "{name}");
        }
    }

    #[test]
    fn mistakes_name_what_is_wrong() {
        let error = |wanted: &str| format!("{:#}", Board::find(Some(wanted), Path::new("/")).unwrap_err());
        assert!(error("pi6").contains("pi5, pi4"), "{}", error("pi6"));
        assert!(error("/no/such.toml").contains("/no/such.toml"));
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("mine.toml");
        fs::write(&path, "name = \"x\"\n[power]\nsensr = \"none\"\n").unwrap();
        let error = error(path.to_str().unwrap());
        assert!(error.contains("mine.toml:3: `sensr") && error.contains("unknown field"), "{error}");
        fs::write(&path, "name = \"x\"\n[power.modelled]\nidle_watts = 2\nsource = \"me\"\n").unwrap();
        let board = Board::find(Some(path.to_str().unwrap()), Path::new("/")).unwrap().unwrap();
        let error = format!("{:#}", board.power_model().unwrap_err());
        assert!(
            error.contains("mine") && error.contains("full_cpu_watts is missing") || error.contains("cores"),
            "{error}"
        );
    }
}
