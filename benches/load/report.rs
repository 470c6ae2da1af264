//! The figures of all rounds, and their table.

use crate::load::peers::Peer;
use std::fmt::Write as _;

/// The quantity of one row.
#[derive(Clone, Copy)]
pub(crate) struct Quantity {
    pub(crate) title: &'static str,
    pub(crate) unit: &'static str,
    /// Digits after the decimal point.
    pub(crate) digits: usize,
    /// The peer whose figure is 1.
    pub(crate) reference: Option<Peer>,
}

#[derive(Default)]
pub(crate) struct Report {
    rows: Vec<Row>,
}

struct Row {
    quantity: Quantity,
    /// The figures of each peer, by round.
    figures: Vec<(Peer, Vec<f64>)>,
}

impl Report {
    /// Alternates between the peers in several rounds, so that background load affects all of them alike.
    pub(crate) fn measure<const N: usize>(
        &mut self,
        rounds: usize,
        peers: &[Peer],
        quantities: [Quantity; N],
        run: impl Fn(Peer) -> [f64; N],
    ) {
        let mut rows = quantities.map(|quantity| Row {
            quantity,
            figures: peers.iter().map(|peer| (*peer, Vec::new())).collect(),
        });
        for _ in 0..rounds {
            for (index, peer) in peers.iter().enumerate() {
                let figures = run(*peer);
                for (row, figure) in rows.iter_mut().zip(figures) {
                    row.figures[index].1.push(figure);
                }
            }
        }
        for row in rows {
            eprintln!("{}", row.line());
            self.rows.push(row);
        }
    }

    /// Renders all rows as Markdown.
    pub(crate) fn table(&self) -> String {
        let mut table = "| |".to_owned();
        let peers = Peer::ALL.iter();
        peers.for_each(|peer| _ = write!(table, " {} |", peer.name()));
        table += "\n| --- |";
        table += &" ---: |".repeat(Peer::ALL.len());
        for row in &self.rows {
            table += "\n";
            table += &row.line();
        }
        table
    }

    /// A peer's medians as multiples of the reference's, for each row whose title has this prefix.
    pub(crate) fn ratios(&self, title: &str, peer: Peer) -> Vec<f64> {
        let rows = self
            .rows
            .iter()
            .filter(|row| row.quantity.title.starts_with(title));
        rows.filter_map(|row| row.ratio(peer)).collect()
    }

    /// A peer's median in the row whose title has this prefix.
    pub(crate) fn figure(&self, title: &str, peer: Peer) -> Option<f64> {
        let mut rows = self.rows.iter();
        rows.find(|row| row.quantity.title.starts_with(title))?
            .figure(peer)
    }
}

impl Row {
    fn line(&self) -> String {
        let Quantity {
            title,
            unit,
            digits,
            ..
        } = self.quantity;
        let mut line = format!("| {title}, {unit} |");
        for peer in Peer::ALL {
            let _ = match (self.figure(peer), self.ratio(peer)) {
                (None, _) => write!(line, " |"),
                (Some(figure), None) => write!(line, " {figure:.digits$} |"),
                (Some(figure), Some(ratio)) => write!(line, " {figure:.digits$} ({ratio:.2}×) |"),
            };
        }
        line
    }

    fn of(&self, peer: Peer) -> Option<&[f64]> {
        let mut figures = self.figures.iter();
        figures
            .find(|(of, _)| *of == peer)
            .map(|(_, figures)| figures.as_slice())
    }

    fn figure(&self, peer: Peer) -> Option<f64> {
        Some(median(self.of(peer)?.iter().copied()))
    }

    /// The median of the ratios of each round.
    fn ratio(&self, peer: Peer) -> Option<f64> {
        let reference = self.of(self.quantity.reference?)?;
        let ratios = self.of(peer)?.iter().zip(reference);
        Some(median(ratios.map(|(figure, reference)| figure / reference)))
    }
}

fn median(figures: impl Iterator<Item = f64>) -> f64 {
    let mut figures: Vec<_> = figures.collect();
    figures.sort_by(f64::total_cmp);
    let half = figures.len() / 2;
    match figures.len() % 2 {
        1 => figures[half],
        _ => (figures[half - 1] + figures[half]) / 2.0,
    }
}

/// Returns this quantile of nanoseconds, in microseconds.
pub(crate) fn percentile(nanoseconds: &mut [u64], part: f64) -> f64 {
    let last = nanoseconds
        .len()
        .checked_sub(1)
        .expect("something was measured");
    let (_, value, _) = nanoseconds.select_nth_unstable((last as f64 * part) as usize);
    *value as f64 / 1000.0
}
