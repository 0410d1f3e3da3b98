//! Whom and what requests are about: names that are counted or listed, and how often each is drawn.

use std::borrow::Cow;
use std::path::Path;
use std::str::FromStr;

use anyhow::{Context, bail, ensure};
use percent_encoding::utf8_percent_encode;
use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};
use rand_distr::{Distribution, Zipf};

use crate::config::files::read;
use crate::dev::{PATH, samples};
use crate::gate::{ObjectPath, UidCase};

/// Most names of a pool.
const MAX_NAMES: usize = 10_000_000;

/// Longest list of names, in bytes.
const MAX_LIST_BYTES: u64 = 512 << 20;

/// Keeps what is drawn for the storm apart from what is drawn for the list.
const STORM: u64 = 0x73_746f_726d;

/// Names by number, from zero.
#[derive(Debug)]
pub(super) enum Pool {
    /// So many, with what stands before and after the number, which is counted from one.
    Counted(usize, String, String),
    Listed(Vec<String>),
}

impl Pool {
    /// Users: so many, or those in a file.
    pub(super) fn users(wanted: &str, name: &str) -> anyhow::Result<Pool> {
        let pool = match wanted.parse() {
            Ok(count) => Pool::counted(count, name, "--users", "--user-name")?,
            Err(_) => Pool::listed("--users", Path::new(wanted))?,
        };
        for uid in pool.names_to_check() {
            let is_sound = UidCase::Exact.normalize(&uid).is_some();
            ensure!(is_sound, "--users: {uid:?} is no uid: it must have 1 to 255 visible ASCII characters");
        }
        Ok(pool)
    }

    /// Objects of `app`: so many, those in a file, or the files of a folder; percent-encoded.
    pub(super) fn objects(wanted: &str, name: &str, app: &str) -> anyhow::Result<Pool> {
        let encoded = |key: &str| utf8_percent_encode(key, PATH).to_string();
        let pool = match wanted.parse() {
            Ok(count) => match Pool::counted(count, name, "--objects", "--object-name")? {
                Pool::Counted(count, before, after) => Pool::Counted(count, encoded(&before), encoded(&after)),
                listed @ Pool::Listed(_) => listed,
            },
            Err(_) => {
                let path = Path::new(wanted);
                let keys = match path.is_dir() {
                    true => samples::list_objects(path, MAX_NAMES)
                        .with_context(|| format!("--objects: cannot read the folder {wanted}"))?,
                    false => match Pool::listed("--objects", path)? {
                        Pool::Listed(keys) => keys,
                        Pool::Counted(..) => bail!("--objects: {wanted} is a list"),
                    },
                };
                ensure!(!keys.is_empty(), "--objects: there is no file in {wanted}");
                Pool::Listed(keys.iter().map(|key| encoded(key)).collect())
            }
        };
        for key in pool.names_to_check() {
            ObjectPath::parse(&format!("/{app}/{key}")).with_context(|| format!("--objects: {key:?} is no key"))?;
        }
        Ok(pool)
    }

    fn counted(count: usize, name: &str, option: &str, name_option: &str) -> anyhow::Result<Pool> {
        ensure!((1..=MAX_NAMES).contains(&count), "{option} takes 1 to {MAX_NAMES}, or the name of a file");
        let parts = name.split_once("{}").filter(|(_, after)| !after.contains("{}"));
        let (before, after) = parts.with_context(|| format!("{name_option} must have {{}} once, for the number"))?;
        Ok(Pool::Counted(count, before.to_owned(), after.to_owned()))
    }

    fn listed(option: &str, path: &Path) -> anyhow::Result<Pool> {
        let content = read(path, MAX_LIST_BYTES).with_context(|| {
            format!("{option} takes a number or the name of a file: cannot read {}", path.display())
        })?;
        let text = String::from_utf8(content).ok();
        let text = text.with_context(|| format!("{option}: {} is not UTF-8 text", path.display()))?;
        let names: Vec<String> = text.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect();
        let count = names.len();
        let size = 1..=MAX_NAMES;
        ensure!(size.contains(&count), "{option}: {} has {count} names, not 1 to {MAX_NAMES}", path.display());
        Ok(Pool::Listed(names))
    }

    pub(super) fn len(&self) -> usize {
        match self {
            Pool::Counted(count, ..) => *count,
            Pool::Listed(names) => names.len(),
        }
    }

    /// The name of number `at`, which is below [`Pool::len`].
    pub(super) fn name(&self, at: usize) -> Cow<'_, str> {
        match self {
            Pool::Counted(_, before, after) => format!("{before}{}{after}", at + 1).into(),
            Pool::Listed(names) => names[at].as_str().into(),
        }
    }

    /// All names, in their order.
    pub(super) fn names(&self) -> impl Iterator<Item = String> {
        (0..self.len()).map(|at| self.name(at).into_owned())
    }

    /// Those that are not sure to be sound when the others are.
    fn names_to_check(&self) -> impl Iterator<Item = Cow<'_, str>> {
        let from = if matches!(self, Pool::Counted(..)) { self.len() - 1 } else { 0 };
        (from..self.len()).map(|at| self.name(at))
    }

    /// Which are in a sample of `share`, by number; nothing where that is none.
    pub(super) fn sample(&self, share: f64, seed: u64) -> Vec<bool> {
        let wanted = (share * self.len() as f64).round() as usize;
        if wanted == 0 {
            return Vec::new();
        }
        let mut chosen = vec![false; self.len()];
        let mut random = ChaCha8Rng::seed_from_u64(seed ^ STORM);
        for at in rand::seq::index::sample(&mut random, self.len(), wanted) {
            chosen[at] = true;
        }
        chosen
    }
}

/// How often each is drawn, as it is asked for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Choice {
    Uniform,
    /// The nth as often as 1/n to the power of this.
    Zipf(f64),
}

impl FromStr for Choice {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Choice, &'static str> {
        let exponent = match (text, text.strip_prefix("zipf:")) {
            ("uniform", _) => return Ok(Choice::Uniform),
            ("zipf", _) => Some(1.0),
            (_, exponent) => exponent.and_then(|exponent| exponent.parse().ok()),
        };
        let exponent = exponent.filter(|exponent| (0.0..=10.0).contains(exponent));
        exponent.map(Choice::Zipf).ok_or("must be uniform, zipf, or zipf:EXPONENT with an exponent from 0 to 10")
    }
}

impl Choice {
    /// The same among `count`.
    pub(super) fn among(self, count: usize) -> anyhow::Result<Drawing> {
        Ok(match self {
            Choice::Uniform => Drawing::Uniform(count),
            Choice::Zipf(exponent) => {
                Drawing::Zipf(Zipf::new(count as f64, exponent).ok().context("no such Zipf distribution")?)
            }
        })
    }
}

/// Draws numbers from zero.
pub(super) enum Drawing {
    Uniform(usize),
    Zipf(Zipf<f64>),
}

impl Drawing {
    pub(super) fn draw(&self, random: &mut ChaCha8Rng) -> usize {
        match self {
            Drawing::Uniform(count) => random.random_range(0..*count),
            Drawing::Zipf(zipf) => zipf.sample(random) as usize - 1,
        }
    }
}
