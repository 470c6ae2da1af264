//! Runs the program according to its arguments.

use crate::load::{
    machine,
    peers::{self, Peer},
    plot,
    report::Report,
    rows, scale,
    smoke::smoke,
};
use std::{collections::HashMap, env, fs, str::FromStr};

/// The markers around the figures in the page.
const BEGIN: &str = "<!-- figures: written by scripts/bench -->\n";
const END: &str = "<!-- end of figures -->";

/// Options that have a value.
const VALUED: [&str; 6] = ["--peer", "--core", "--hold", "--rounds", "--page", "--plot"];

/// The arguments of this program.
#[derive(Default)]
struct Arguments {
    /// The selected scenarios; all if empty.
    names: Vec<String>,
    options: HashMap<String, String>,
}

impl Arguments {
    fn read() -> Self {
        let mut arguments = Self::default();
        let mut words = env::args().skip(1);
        while let Some(word) = words.next() {
            match word.starts_with("--") {
                true => {
                    let value = VALUED.contains(&word.as_str()).then(|| words.next());
                    let value = value.flatten().unwrap_or_default();
                    arguments.options.insert(word, value);
                }
                false => arguments.names.push(word),
            }
        }
        arguments
    }

    fn has(&self, option: &str) -> bool {
        self.options.contains_key(option)
    }

    fn value<T: FromStr>(&self, option: &str) -> Option<T> {
        let value = self.options.get(option)?.parse();
        let value = value.unwrap_or_else(|_| panic!("{option} has a value that it cannot have"));
        Some(value)
    }

    /// Whether a scenario is selected.
    fn wants(&self, name: &str) -> bool {
        self.names.is_empty() || self.names.iter().any(|wanted| wanted == name)
    }
}

pub(crate) fn main() {
    let arguments = Arguments::read();
    let core = arguments.value("--core");
    if let Some(peer) = arguments.value::<String>("--peer") {
        peers::run(Peer::from_name(&peer).expect("a peer's name"), core);
    } else if let Some(clients) = arguments.value("--hold") {
        machine::raise_open_files();
        scale::hold(core, clients);
    } else if arguments.has("--list") {
        println!("smoke: test");
    } else if arguments.has("--smoke") || !arguments.has("--bench") {
        smoke();
    } else {
        measure(&arguments);
    }
}

fn measure(arguments: &Arguments) {
    let rounds = arguments.value("--rounds").unwrap_or(3);
    let open_files = machine::raise_open_files();
    assert!(
        open_files > 10_200,
        "10,200 open files are needed: `ulimit -n` allows {open_files}"
    );
    let (mut report, mut notes) = (Report::default(), String::new());
    // First, since the proxy needs more than one core.
    if arguments.wants("grip") {
        notes += &rows::proxied();
    }
    let core = machine::pin_clients();
    for (name, run) in rows::ALL {
        if arguments.wants(name) {
            run(&mut report, core, rounds);
        }
    }
    if arguments.wants("scale") {
        notes += &rows::scaled(core, open_files - 200);
    }
    let figures = format!(
        "{}\n{}\n\n{notes}",
        machine::description(core, rounds),
        report.table()
    );
    println!("\n{figures}");
    if let Some(page) = arguments.value::<String>("--page") {
        write_page(&page, &figures);
    }
    if let Some(plot) = arguments.value::<String>("--plot") {
        fs::write(plot, plot::svg(&report, &rows::SUBSCRIBERS)).expect("the plot is written");
    }
}

fn write_page(path: &str, figures: &str) {
    let page = fs::read_to_string(path).expect("the page is there");
    let (before, rest) = page.split_once(BEGIN).expect("the page has room");
    let (_, after) = rest.split_once(END).expect("the page has room");
    let page = format!("{before}{BEGIN}\n{figures}\n{END}{after}");
    fs::write(path, page).expect("the page is written");
}
