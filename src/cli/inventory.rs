//! `portcullis inventory`: who is in a policy, and lists of hosts from elsewhere into it.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde::Serialize;

use super::fault::{Fault, PolicyArg, read_policy, tell};
use super::page::count;
use super::screen::Screen;
use super::{Done, Format, FormatArg};
use crate::policy::inventory::import;
use crate::policy::model::{Labels, Workload};
use crate::policy::read::{Loaded, nearest_name};
use crate::policy::source::read_file;
use crate::policy::values::{Carriers, values};

/// Who is in a policy's inventory, and lists of hosts from elsewhere into it.
#[derive(Debug, Args)]
pub(crate) struct InventoryArgs {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Every workload, with the place that declares it.
    List {
        #[command(flatten)]
        policy: PolicyArg,
        #[command(flatten)]
        format: FormatArg,
    },
    /// The values of a label, how many workloads carry each, and of which network they inherit it.
    Labels {
        /// The label's key.
        key: String,
        #[command(flatten)]
        policy: PolicyArg,
        #[command(flatten)]
        format: FormatArg,
    },
    /// Print a part of a policy made of a CSV file: columns name, addresses, owner, `service_account`, macs and
    /// `valid_until`; every other column is a label.
    Import {
        /// The CSV file, with a line of headings.
        file: PathBuf,
    },
}

#[derive(Debug, Serialize)]
struct Row<'a> {
    name: &'a str,
    addresses: Vec<String>,
    labels: &'a Labels,
    service_account: Option<&'a str>,
    macs: Vec<String>,
    owner: Option<&'a str>,
    valid_until: Option<String>,
    place: String,
}

/// Runs the verb.
///
/// # Errors
/// The policy or the list does not hold together, or the output is lost.
pub(crate) fn run(args: &InventoryArgs, screen: &mut Screen) -> Result<Done, Fault> {
    match &args.verb {
        Verb::List { policy, format } => {
            let loaded = read_policy(&policy.policy)?;
            let rows: Vec<Row<'_>> =
                loaded.model.workloads.iter().map(|workload| row(&loaded, workload)).collect();
            screen.show(&match format.format {
                Format::Json => serde_json::to_string(&rows)? + "\n",
                Format::Table => rows.iter().map(line).collect(),
            })?;
        }
        Verb::Labels { key, policy, format } => {
            let loaded = read_policy(&policy.policy)?;
            let declared = &loaded.model.labels;
            if !declared.contains_key(key) {
                let like = nearest_name(key, declared.keys().map(String::as_str)).map(str::to_owned);
                return Err(Fault::NoLabel { key: key.clone(), like });
            }
            let values = values(&loaded.model, key);
            screen.show(&match format.format {
                Format::Json => serde_json::to_string(&values)? + "\n",
                Format::Table => {
                    values.iter().map(|(value, carriers)| carried(key, value, carriers)).collect()
                }
            })?;
        }
        Verb::Import { file } => {
            let csv = match read_file(file) {
                Ok(csv) => csv,
                Err(reason) => {
                    tell(&format!("error: can't read {}: {reason}\n", file.display()));
                    tell("  remedy: name a CSV file of UTF-8 text, of at most 4 MiB\n");
                    return Ok(Done::Invalid);
                }
            };
            let source = file.file_name().unwrap_or(file.as_os_str()).to_string_lossy().into_owned();
            match import(&csv, &source) {
                Ok(imported) => {
                    screen.show(&imported.part)?;
                    for (heading, label) in &imported.renamed {
                        tell(&format!("column {heading} became label {label}: selectors use the word\n"));
                    }
                }
                Err(wrong) => {
                    for row in &wrong {
                        tell(&format!("error: {source}: {row}\n"));
                    }
                    tell(&format!("{}; nothing was imported\n", count(wrong.len(), "error")));
                    tell("  remedy: correct these lines of the file and import it whole\n");
                    return Ok(Done::Invalid);
                }
            }
        }
    }
    Ok(Done::Well)
}

/// `env=prod  5 workloads, of which 2 inherit it from network servers`
fn carried(key: &str, value: &str, carriers: &Carriers) -> String {
    let Carriers { workloads, inherited } = carriers;
    let of = |(network, number): (&String, &usize)| {
        format!("{number} inherit{} it from network {network}", if *number == 1 { "s" } else { "" })
    };
    let of: Vec<String> = inherited.iter().map(of).collect();
    let of = if of.is_empty() { String::new() } else { format!(", of which {}", of.join(" and ")) };
    format!("{key}={value}  {}{of}\n", count(*workloads, "workload"))
}

fn row<'a>(loaded: &Loaded, workload: &'a Workload) -> Row<'a> {
    Row {
        name: &workload.name,
        addresses: workload.addresses.iter().map(ToString::to_string).collect(),
        labels: &workload.labels,
        service_account: workload.service_account.as_deref(),
        macs: workload.macs.iter().map(ToString::to_string).collect(),
        owner: workload.owner.as_deref(),
        valid_until: workload.valid_until.map(|end| end.to_string()),
        place: loaded.sources.place(workload.origin),
    }
}

/// `vault-1  10.20.0.10  app=tokenization env=prod  as vault-prod  payments-platform  inventory.toml:3`
fn line(row: &Row<'_>) -> String {
    let labels: Vec<String> = row.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    let account = row.service_account.map_or_else(String::new, |account| format!("  as {account}"));
    let until = row.valid_until.as_ref().map_or_else(String::new, |end| format!("  until {end}"));
    format!(
        "{}  {}  {}{account}{until}  {}  {}\n",
        row.name,
        row.addresses.join(" "),
        labels.join(" "),
        row.owner.unwrap_or("nobody's"),
        row.place
    )
}
