//! Lines of the table.

use std::fs;

pub(crate) const HEAD: &str =
    "| | with the backplane | baseline | ratio | target |\n| --- | ---: | ---: | ---: | --- |";

/// A quantity, its figures of all rounds, and a baseline's figures of the same rounds.
pub(crate) struct Row {
    title: String,
    target: &'static str,
    digits: usize,
    figures: Vec<f64>,
    baseline: &'static str,
    baselines: Vec<f64>,
}

impl Row {
    pub(crate) fn new(title: impl Into<String>, digits: usize, target: &'static str) -> Self {
        Self {
            title: title.into(),
            target,
            digits,
            figures: Vec::new(),
            baseline: "",
            baselines: Vec::new(),
        }
    }

    pub(crate) fn beside(mut self, baseline: &'static str) -> Self {
        self.baseline = baseline;
        self
    }

    pub(crate) fn add(&mut self, figure: f64) {
        self.figures.push(figure);
    }

    pub(crate) fn add_baseline(&mut self, figure: f64) {
        self.baselines.push(figure);
    }

    pub(crate) fn print(&self) {
        let (digits, baseline) = (self.digits, self.baseline);
        let ratios = self.figures.iter().zip(&self.baselines);
        let ratio = median(ratios.map(|(figure, base)| figure / base));
        let [baseline, ratio] = match (median(self.baselines.iter().copied()), ratio) {
            (Some(figure), Some(ratio)) => [
                format!("{figure:.digits$} {baseline}"),
                format!("{ratio:.2}×"),
            ],
            _ => Default::default(),
        };
        let figure = median(self.figures.iter().copied()).expect("it was measured");
        let (title, target) = (&self.title, self.target);
        println!("| {title} | {figure:.digits$} | {baseline} | {ratio} | {target} |");
    }
}

fn median(figures: impl Iterator<Item = f64>) -> Option<f64> {
    let mut figures: Vec<_> = figures.collect();
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied()
}

/// Returns this quantile.
pub(crate) fn quantile(figures: &mut [f64], part: f64) -> f64 {
    let last = figures.len().checked_sub(1).expect("it was measured");
    figures.sort_by(f64::total_cmp);
    figures[(last as f64 * part) as usize]
}

pub(crate) fn machine(rounds: usize) -> String {
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split(' ').next().unwrap_or_default();
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    format!("{cores} cores, not pinned; {rounds} rounds, medians; load average before {load}.\n")
}
