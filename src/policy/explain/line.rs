//! One line of a batch: a packet that opens a connection, as JSON.
//!
//! What it is: the fields of a line, each checked by itself and against the protocol. What it is not: it knows no
//! policy; names are looked up by who answers. Invariant: what is wrong with a line names the field. Cost: one
//! pass, no allocation for fields without escapes.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::error::Category;

use super::ports::DYNAMIC;
use crate::policy::read::nearest_name;
use crate::policy::verdict::Moment;
use crate::wire::protocol::{ICMP, ICMPV6, SCTP, TCP, UDP};
use crate::wire::{Mac, Service, Side};

/// The fields that a line may have.
const FIELDS: [&str; 10] =
    ["src", "dst", "proto", "dport", "sport", "side", "icmp_type", "icmp_code", "mac", "at"];

/// What is wrong with a line, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wrong {
    /// The field; none: the line is no query at all.
    pub(super) field: Option<String>,
    /// In words that follow the field's name.
    pub(super) what: String,
}

impl Wrong {
    pub(super) fn of(field: &str, what: impl Into<String>) -> Self {
        Self { field: Some(field.to_owned()), what: what.into() }
    }

    pub(super) fn all(what: impl Into<String>) -> Self {
        Self { field: None, what: what.into() }
    }
}

/// A query as written.
#[derive(Debug)]
pub(super) struct Line<'l> {
    values: [Option<Scalar<'l>>; FIELDS.len()],
    /// The first key that is none of them, or stands twice.
    stray: Option<Wrong>,
}

/// A query that makes sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Asked {
    pub(super) service: Service,
    /// Where the frame arrives; none: where its source belongs.
    pub(super) side: Option<Side>,
    /// Its source MAC; none: taken as true.
    pub(super) mac: Option<Mac>,
    /// When; none: now.
    pub(super) at: Option<Moment>,
}

impl<'l> Line<'l> {
    pub(super) fn parse(bytes: &'l [u8]) -> Result<Self, Wrong> {
        match serde_json::from_slice::<Self>(bytes) {
            Ok(Self { stray: Some(wrong), .. }) => Err(wrong),
            Ok(line) => Ok(line),
            Err(_) if bytes.iter().all(u8::is_ascii_whitespace) => Err(Wrong::all("it is empty")),
            Err(error) => {
                let place = match error.classify() {
                    Category::Syntax | Category::Eof => format!("at column {} ", error.column()),
                    Category::Data | Category::Io => String::new(),
                };
                Err(Wrong::all(format!(
                    "{place}it is not one JSON object such as {{\"src\": \"10.10.0.7\", \"dst\": \
                     \"10.20.0.10\", \"proto\": \"tcp\", \"dport\": 443}}"
                )))
            }
        }
    }

    /// Who opens, or to whom: an address or a name.
    pub(super) fn end(&self, field: &'static str) -> Result<&str, Wrong> {
        self.text(field)?.ok_or_else(|| Wrong::of(field, "is missing: write an address"))
    }

    pub(super) fn asked(&self) -> Result<Asked, Wrong> {
        let side = |text: &str| {
            let side = Side::BOTH.into_iter().find(|side| side.name() == text);
            side.ok_or_else(|| Wrong::of("side", format!("{text:?} is not outside or inside")))
        };
        let mac = |text: &str| text.parse::<Mac>().map_err(|why| Wrong::of("mac", why.to_string()));
        Ok(Asked {
            service: self.service()?,
            side: self.text("side")?.map(side).transpose()?,
            mac: self.text("mac")?.map(mac).transpose()?,
            at: self.text("at")?.map(moment).transpose()?,
        })
    }

    fn service(&self) -> Result<Service, Wrong> {
        let protocol = self.protocol()?;
        let (sport, dport) = (self.number("sport", u16::MAX)?, self.number("dport", u16::MAX)?);
        let (kind, code) = (self.number("icmp_type", 255)?, self.number("icmp_code", 255)?);
        let none = |fields: [(&str, Option<u16>); 2], what: &str| {
            // Who writes every field writes 0 where there is nothing to say.
            match fields.into_iter().find(|(_, value)| value.is_some_and(|value| value > 0)) {
                Some((field, _)) => Err(Wrong::of(field, format!("is written, and {what}"))),
                None => Ok(()),
            }
        };
        let ports = [("sport", sport), ("dport", dport)];
        let types = [("icmp_type", kind), ("icmp_code", code)];
        let (sport, dport) = match protocol {
            TCP | UDP => {
                none(types, "TCP and UDP have ports")?;
                let dport =
                    dport.ok_or_else(|| Wrong::of("dport", "is missing: TCP and UDP have ports"))?;
                (sport.unwrap_or(DYNAMIC), dport)
            }
            SCTP => {
                none(types, "SCTP has ports")?;
                // No rule tells them apart.
                (sport.unwrap_or(DYNAMIC), dport.unwrap_or(1))
            }
            ICMP | ICMPV6 => {
                none(ports, "ICMP has types: write icmp_type and icmp_code")?;
                let kind = kind.ok_or_else(|| Wrong::of("icmp_type", "is missing: ICMP has types"))?;
                (0, kind << 8 | code.unwrap_or(0))
            }
            _ => {
                none(ports, "this protocol has no ports")?;
                none(types, "this protocol has no types")?;
                (0, 0)
            }
        };
        Ok(Service { protocol, sport, dport, readable: true })
    }

    fn protocol(&self) -> Result<u8, Wrong> {
        let wrong = |written: &dyn fmt::Display| {
            let what =
                format!("{written} is not tcp, udp, icmp, icmpv6 or the number of a protocol, 0 to 255");
            Wrong::of("proto", what)
        };
        match self.get("proto") {
            None | Some(Scalar::Null) => {
                Err(Wrong::of("proto", "is missing: write tcp, udp, icmp, icmpv6 or a number"))
            }
            Some(Scalar::Number(number)) => u8::try_from(*number).map_err(|_| wrong(number)),
            Some(Scalar::Text(text)) => match text.as_ref() {
                "tcp" => Ok(TCP),
                "udp" => Ok(UDP),
                "icmp" => Ok(ICMP),
                "icmpv6" => Ok(ICMPV6),
                other => other.parse().map_err(|_| wrong(&format!("{other:?}"))),
            },
            Some(Scalar::Other(written)) => Err(wrong(written)),
        }
    }

    fn get(&self, field: &str) -> Option<&Scalar<'l>> {
        let place = FIELDS.iter().position(|known| *known == field)?;
        self.values.get(place)?.as_ref()
    }

    fn text(&self, field: &'static str) -> Result<Option<&str>, Wrong> {
        match self.get(field) {
            None | Some(Scalar::Null) => Ok(None),
            Some(Scalar::Text(text)) => Ok(Some(text)),
            Some(Scalar::Number(number)) => Err(Wrong::of(field, format!("{number} is not a text"))),
            Some(Scalar::Other(written)) => Err(Wrong::of(field, format!("{written} is not a text"))),
        }
    }

    fn number(&self, field: &'static str, most: u16) -> Result<Option<u16>, Wrong> {
        let wrong = |written: &dyn fmt::Display| {
            Wrong::of(field, format!("{written} is not a number from 0 to {most}"))
        };
        match self.get(field) {
            None | Some(Scalar::Null) => Ok(None),
            Some(Scalar::Number(number)) => {
                let fits = u16::try_from(*number).ok().filter(|number| *number <= most);
                fits.map(Some).ok_or_else(|| wrong(number))
            }
            Some(Scalar::Text(text)) => Err(wrong(&format!("{text:?}"))),
            Some(Scalar::Other(written)) => Err(wrong(written)),
        }
    }
}

/// `2026-11-24T18:04:10Z`
fn moment(text: &str) -> Result<Moment, Wrong> {
    let wrong = || {
        let what = format!("{text:?} is not an instant with an offset, such as 2026-11-24T18:04:10Z");
        Wrong::of("at", what)
    };
    let instant: jiff::Timestamp = text.parse().map_err(|_| wrong())?;
    u64::try_from(instant.as_nanosecond()).map(Moment).map_err(|_| wrong())
}

/// The value of a field.
#[derive(Clone, Debug, PartialEq)]
enum Scalar<'l> {
    Null,
    Number(u64),
    Text(Cow<'l, str>),
    /// Nothing that a field takes, and what it is.
    Other(&'static str),
}

impl<'de> Deserialize<'de> for Scalar<'de> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Any;
        impl<'de> Visitor<'de> for Any {
            type Value = Scalar<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a value")
            }

            fn visit_unit<E>(self) -> Result<Self::Value, E> {
                Ok(Scalar::Null)
            }

            fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
                Ok(Scalar::Other("a boolean"))
            }

            fn visit_u64<E>(self, number: u64) -> Result<Self::Value, E> {
                Ok(Scalar::Number(number))
            }

            fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
                Ok(Scalar::Other("a negative number"))
            }

            fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
                Ok(Scalar::Other("a fraction"))
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Scalar::Text(Cow::Borrowed(text)))
            }

            fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Scalar::Text(Cow::Owned(text.to_owned())))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
                while list.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Scalar::Other("a list"))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(Scalar::Other("an object"))
            }
        }
        from.deserialize_any(Any)
    }
}

/// The name of a field: its place among those there are.
struct Key(Result<usize, Wrong>);

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Name;
        impl Visitor<'_> for Name {
            type Value = Key;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the name of a field")
            }

            fn visit_str<E>(self, name: &str) -> Result<Key, E> {
                let place = FIELDS.iter().position(|known| *known == name);
                Ok(Key(place.ok_or_else(|| {
                    let like = match nearest_name(name, FIELDS) {
                        Some(like) => format!("; did you mean {like}?"),
                        None => format!(": there are {}", FIELDS.join(", ")),
                    };
                    Wrong::of(name, format!("is no field of a query{like}"))
                })))
            }
        }
        from.deserialize_identifier(Name)
    }
}

impl<'de> Deserialize<'de> for Line<'de> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Fields;
        impl<'de> Visitor<'de> for Fields {
            type Value = Line<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut line = Line { values: [const { None }; FIELDS.len()], stray: None };
                while let Some(Key(key)) = map.next_key()? {
                    let value: Scalar<'de> = map.next_value()?;
                    let wrong = match key {
                        Ok(place) => {
                            let free = line.values.get_mut(place).filter(|known| known.is_none());
                            if let Some(free) = free {
                                *free = Some(value);
                                continue;
                            }
                            let name = FIELDS.get(place).copied().unwrap_or_default();
                            Wrong::of(name, "is written twice")
                        }
                        Err(wrong) => wrong,
                    };
                    line.stray.get_or_insert(wrong);
                }
                Ok(line)
            }
        }
        from.deserialize_map(Fields)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(text: &str) -> Result<Service, Wrong> {
        Line::parse(text.as_bytes())?.asked().map(|asked| asked.service)
    }

    #[test]
    fn a_line_has_the_fields_of_its_protocol() {
        let of = |text: &str| {
            let Service { protocol, sport, dport, readable } = service(text).expect("a service");
            assert!(readable);
            (protocol, sport, dport)
        };
        assert_eq!(of(r#"{"proto": "tcp", "dport": 443}"#), (6, 49_152, 443));
        assert_eq!(of(r#"{"proto": 17, "dport": 53, "sport": 1000}"#), (17, 1_000, 53));
        assert_eq!(of(r#"{"proto": "6", "dport": 0, "icmp_type": null}"#), (6, 49_152, 0));
        assert_eq!(of(r#"{"proto": "icmp", "icmp_type": 3, "icmp_code": 4}"#), (1, 0, 0x0304));
        assert_eq!(of(r#"{"proto": "icmpv6", "icmp_type": 128, "dport": 0}"#), (58, 0, 0x8000));
        assert_eq!(of(r#"{"proto": 50}"#), (50, 0, 0));
        assert_eq!(of(r#"{"proto": 132, "sport": 5, "dport": 3868}"#), (132, 5, 3_868));
        assert_eq!(of(r#"{"proto": 132}"#), (132, 49_152, 1));
        let line = Line::parse(
            br#"{"proto": 50, "side": "inside", "mac": "02:00:00:00:00:05", "at": "1970-01-01T01:00:01+01:00"}"#,
        );
        let asked = line.unwrap().asked().unwrap();
        assert_eq!(
            (asked.side, asked.mac, asked.at),
            (Some(Side::Inside), Some(Mac([2, 0, 0, 0, 0, 5])), Some(Moment(1_000_000_000)))
        );
    }

    #[test]
    fn what_is_wrong_with_a_line_names_its_field() {
        let cases = [
            (r#"{"proto": "tpc", "dport": 1}"#, "proto", "\"tpc\" is not tcp, udp"),
            (r#"{"proto": 256}"#, "proto", "256 is not"),
            (r#"{"proto": [6]}"#, "proto", "a list is not"),
            (r#"{"dport": 1}"#, "proto", "is missing"),
            (r#"{"proto": "tcp"}"#, "dport", "is missing"),
            (r#"{"proto": "tcp", "dport": 65536}"#, "dport", "65536 is not a number from 0 to 65535"),
            (r#"{"proto": "tcp", "dport": -1}"#, "dport", "a negative number is not"),
            (r#"{"proto": "tcp", "dport": "443"}"#, "dport", "\"443\" is not a number"),
            (r#"{"proto": "tcp", "dport": 1.5}"#, "dport", "a fraction is not"),
            (r#"{"proto": "tcp", "dport": 1, "icmp_type": 8}"#, "icmp_type", "TCP and UDP have ports"),
            (r#"{"proto": "icmp"}"#, "icmp_type", "is missing"),
            (r#"{"proto": "icmp", "icmp_type": 256}"#, "icmp_type", "from 0 to 255"),
            (r#"{"proto": "icmp", "icmp_type": 8, "dport": 8}"#, "dport", "ICMP has types"),
            (r#"{"proto": 50, "dport": 8}"#, "dport", "no ports"),
            (r#"{"proto": 132, "icmp_type": 8}"#, "icmp_type", "SCTP has ports"),
            (r#"{"proto": 50, "side": "left"}"#, "side", "\"left\" is not outside or inside"),
            (r#"{"proto": 50, "side": true}"#, "side", "a boolean is not a text"),
            (r#"{"proto": 50, "mac": "02:00"}"#, "mac", ""),
            (r#"{"proto": 50, "at": "2026-11-24T18:04:10"}"#, "at", "an instant with an offset"),
            (r#"{"proto": 50, "at": "1969-12-31T23:59:59Z"}"#, "at", "an instant with an offset"),
            (r#"{"proto": 50, "prot": 1}"#, "prot", "is no field of a query; did you mean proto?"),
            (r#"{"proto": 50, "vlan": 1}"#, "vlan", "is no field of a query: there are src, dst"),
            (r#"{"proto": 50, "proto": 50}"#, "proto", "is written twice"),
        ];
        for (text, field, what) in cases {
            let wrong = service(text).expect_err(text);
            assert_eq!(wrong.field.as_deref(), Some(field), "{text}: {wrong:?}");
            assert!(wrong.what.contains(what), "{text}: {wrong:?}");
        }
        for (text, what) in [
            ("", "it is empty"),
            (" \t", "it is empty"),
            ("[]", "it is not one JSON object"),
            ("7", "it is not one JSON object"),
            ("{\"proto\": 50", "at column 12 it is not one"),
            ("{\"proto\": 50} {}", "at column 15 it is not one"),
            ("nonsense", "at column 2 it is not one"),
        ] {
            let wrong = service(text).expect_err(text);
            assert_eq!(wrong.field, None, "{text}");
            assert!(wrong.what.starts_with(what), "{text}: {}", wrong.what);
        }
    }
}
