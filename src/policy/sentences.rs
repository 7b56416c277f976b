//! Rules as sentences, nothing left out.
