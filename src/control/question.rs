//! What `explain` is asked, as text, and its way through a URL.

use serde::{Deserialize, Serialize};

use super::answers::Told;
use crate::policy::explain::{NotExplained, Query, explain};
use crate::policy::read::Loaded;
use crate::policy::sentences::{sentences, text};
use crate::policy::{Moment, Table};
use crate::wire::{Mac, Side, Vlans};

/// Columns of a page whose reader does not say.
pub const WIDTH: usize = 100;

/// One new connection, as people write it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Question {
    /// A workload's name, or an address.
    pub from: String,
    /// A workload's name, or an address.
    pub to: String,
    /// A service's name, or `tcp/443`.
    pub service: String,
    /// Source MAC of the opening frame.
    pub mac: Option<String>,
    /// Its tags: `untagged`, `100`, `100.20`.
    pub vlan: Option<String>,
    /// Where it arrives: `outside` or `inside`.
    pub side: Option<String>,
    /// Columns of the page.
    pub width: Option<usize>,
    /// How the page is drawn; none: as text.
    pub form: Option<Form>,
}

/// How a page is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Form {
    /// In lines.
    Text,
    /// As a tree.
    Tree,
}

impl Form {
    const fn name(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Tree => "tree",
        }
    }
}

/// A question without an answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadQuestion {
    /// The MAC is none.
    #[error("mac: {0}")]
    Mac(#[from] crate::wire::NotAMac),
    /// The tags are none.
    #[error("vlan: \"{0}\" is not untagged, 100 or 100.20 (ids 1 to 4094)")]
    Vlan(String),
    /// The side is none.
    #[error("side: \"{0}\" is not outside or inside")]
    Side(String),
    /// The policy does not know what is asked about.
    #[error(transparent)]
    NotExplained(#[from] NotExplained),
    /// The answer can't be written as JSON.
    #[error("the answer can't be written: {0}")]
    Json(String),
}

impl BadQuestion {
    /// What to do.
    #[must_use]
    pub const fn remedy(&self) -> &'static str {
        match self {
            Self::Mac(_) => "write it as 02:00:00:20:00:10, or leave it out: then it is taken as true",
            Self::Vlan(_) => {
                "write it as untagged, 100 or 100.20, or leave it out: then the networks' own is taken"
            }
            Self::Side(_) => {
                "write it as outside or inside, or leave it out: then the source's own is taken"
            }
            Self::NotExplained(why) => why.remedy(),
            Self::Json(_) => "this is a defect of Portcullis: report it with the policy",
        }
    }
}

impl Question {
    /// The answer of a policy. `generation` is that of the gate that runs it.
    ///
    /// # Errors
    /// [`BadQuestion`].
    pub fn answer(
        &self,
        policy: &Loaded,
        table: &Table,
        generation: Option<u32>,
        now: Moment,
    ) -> Result<Told, BadQuestion> {
        let query = Query {
            from: self.from.clone(),
            to: self.to.clone(),
            service: self.service.clone(),
            mac: self.mac.as_deref().map(str::parse::<Mac>).transpose()?,
            vlans: self.vlan.as_deref().map(vlans).transpose()?,
            side: self.side.as_deref().map(side).transpose()?,
            generation,
            now,
        };
        let explanation = explain(policy, table, &query)?;
        let width = self.width.unwrap_or(WIDTH);
        let text = match self.form {
            Some(Form::Tree) => explanation.tree(width),
            Some(Form::Text) | None => explanation.text(width),
        };
        let answer =
            serde_json::to_value(&explanation).map_err(|error| BadQuestion::Json(error.to_string()))?;
        Ok(Told { text, answer })
    }

    /// The path that asks a running gate.
    #[must_use]
    pub fn path(&self) -> String {
        let width = self.width.map(|width| width.to_string());
        let form = self.form.map(|form| form.name().to_owned());
        let pairs = [
            ("from", Some(&self.from)),
            ("to", Some(&self.to)),
            ("service", Some(&self.service)),
            ("mac", self.mac.as_ref()),
            ("vlan", self.vlan.as_ref()),
            ("side", self.side.as_ref()),
            ("width", width.as_ref()),
            ("form", form.as_ref()),
        ];
        let written = pairs.iter().filter_map(|(key, value)| Some((*key, value.as_ref()?.as_str())));
        super::client::with_query("/v1/explain", written)
    }
}

/// The whole policy as sentences.
///
/// # Errors
/// It can't be written as JSON.
pub fn rules(policy: &Loaded, table: &Table, width: usize, now: Moment) -> Result<Told, BadQuestion> {
    let sentences = sentences(policy, table, now);
    let answer = serde_json::to_value(&sentences).map_err(|error| BadQuestion::Json(error.to_string()))?;
    Ok(Told { text: text(&sentences, width), answer })
}

fn side(text: &str) -> Result<Side, BadQuestion> {
    Side::BOTH.into_iter().find(|side| side.name() == text).ok_or_else(|| BadQuestion::Side(text.into()))
}

fn vlans(text: &str) -> Result<Vlans, BadQuestion> {
    let bad = || BadQuestion::Vlan(text.into());
    if text == "untagged" {
        return Ok(Vlans::UNTAGGED);
    }
    let id = |digits: &str| digits.parse().ok().filter(|id| (1..=4094).contains(id)).ok_or_else(bad);
    match text.split_once('.') {
        Some((outer, inner)) => Ok(Vlans { outer: id(outer)?, inner: id(inner)? }),
        None => Ok(Vlans { outer: id(text)?, inner: Vlans::NONE }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::fixture;

    fn question() -> Question {
        Question {
            from: "acquirer-gateway".into(),
            to: "vault-1".into(),
            service: "https".into(),
            ..Question::default()
        }
    }

    fn ask(question: &Question) -> Result<Told, BadQuestion> {
        let policy = fixture::policy(1);
        question.answer(&policy.loaded, &policy.table, Some(1), Moment(fixture::NOON))
    }

    #[test]
    fn an_answer_is_for_people_and_for_programs() {
        let told = ask(&question()).unwrap();
        assert!(told.text.starts_with("ALLOW, forwarded"), "{}", told.text);
        assert_eq!(told.answer["verdict"], "allow");
        let told = ask(&Question { service: "tcp/22".into(), ..question() }).unwrap();
        assert_eq!((&told.answer["verdict"], &told.answer["reason"]), (&"deny".into(), &"no_rule".into()));
    }

    #[test]
    fn what_is_asked_further_is_taken_into_account() {
        let wrong_side = Question { side: Some("inside".into()), ..question() };
        assert_eq!(ask(&wrong_side).unwrap().answer["reason"], "spoofed");
        let tagged = Question { vlan: Some("100".into()), ..question() };
        assert_eq!(ask(&tagged).unwrap().answer["reason"], "spoofed");
    }

    #[test]
    fn what_makes_no_sense_is_named() {
        let bad = |question: Question| ask(&question).unwrap_err().to_string();
        assert!(bad(Question { from: "acquirer-gatewy".into(), ..question() }).contains("did you mean"));
        assert!(bad(Question { mac: Some("02:00".into()), ..question() }).starts_with("mac: "));
        assert!(bad(Question { side: Some("left".into()), ..question() }).contains("outside or inside"));
        for vlan in ["0", "4095", "x", "1.", "1.2.3", ""] {
            assert!(
                bad(Question { vlan: Some(vlan.into()), ..question() }).starts_with("vlan: "),
                "{vlan}"
            );
        }
        // Who asks through the socket has no flags.
        for wrong in [
            Question { mac: Some("02:00".into()), ..question() },
            Question { vlan: Some("x".into()), ..question() },
            Question { side: Some("left".into()), ..question() },
        ] {
            let remedy = ask(&wrong).unwrap_err().remedy();
            assert!(remedy.contains("write it as") && !remedy.contains("--"), "{remedy}");
        }
        assert_eq!(vlans("100.20"), Ok(Vlans { outer: 100, inner: 20 }));
        assert_eq!(vlans("untagged"), Ok(Vlans::UNTAGGED));
    }

    #[test]
    fn a_question_keeps_its_words_on_the_way() {
        let question = Question { service: "a&b=c d".into(), width: Some(80), ..question() };
        assert_eq!(
            question.path(),
            "/v1/explain?from=acquirer-gateway&to=vault-1&service=a%26b%3Dc+d&width=80"
        );
        let tree = Question { form: Some(Form::Tree), width: None, ..question };
        assert!(tree.path().ends_with("&service=a%26b%3Dc+d&form=tree"), "{}", tree.path());
    }

    #[test]
    fn rules_are_sentences() {
        let policy = fixture::policy(1);
        let told = rules(&policy.loaded, &policy.table, 100, Moment(fixture::NOON)).unwrap();
        assert!(told.text.contains("only-prod-reaches-cards"), "{}", told.text);
        assert!(told.answer.as_array().is_some_and(|all| all.len() >= 3), "{}", told.answer);
    }
}
