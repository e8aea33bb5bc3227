//! The expressions of `--fail-if`: `PATH OPERATOR VALUE`.

use base::units::{Bytes, Micros, Rate};

/// An expression that cannot be evaluated.
#[derive(Debug, thiserror::Error)]
#[error("--fail-if '{expression}': {problem}")]
pub struct CheckError {
    expression: String,
    problem: String,
}

/// How a value is compared with the limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operator {
    AtLeast,
    AtMost,
    Equal,
    NotEqual,
    Above,
    Below,
}

impl Operator {
    /// Every operator as it is written. Those of two characters come first, because `>` is also the
    /// beginning of `>=`.
    const ALL: [(&'static str, Operator); 6] = [
        (">=", Operator::AtLeast),
        ("<=", Operator::AtMost),
        ("==", Operator::Equal),
        ("!=", Operator::NotEqual),
        (">", Operator::Above),
        ("<", Operator::Below),
    ];

    pub(super) fn symbol(self) -> &'static str {
        match self {
            Operator::AtLeast => ">=",
            Operator::AtMost => "<=",
            Operator::Equal => "==",
            Operator::NotEqual => "!=",
            Operator::Above => ">",
            Operator::Below => "<",
        }
    }

    /// Whether the expression is true for large values: `>` and `>=`.
    pub(super) fn is_upper_limit(self) -> bool {
        matches!(self, Operator::Above | Operator::AtLeast)
    }

    #[expect(clippy::float_cmp, reason = "the user asked for ==")]
    pub(super) fn is_true(self, actual: f64, limit: f64) -> bool {
        match self {
            Operator::AtLeast => actual >= limit,
            Operator::AtMost => actual <= limit,
            Operator::Equal => actual == limit,
            Operator::NotEqual => actual != limit,
            Operator::Above => actual > limit,
            Operator::Below => actual < limit,
        }
    }
}

/// The parts of `PATH OPERATOR VALUE`.
pub(super) struct Expression<'a> {
    text: &'a str,
    pub(super) path: &'a str,
    pub(super) operator: Operator,
    pub(super) limit: &'a str,
}

impl<'a> Expression<'a> {
    /// Splits an expression at its first operator. `example` is quoted in the error.
    pub(super) fn parse(text: &'a str, example: &str) -> Result<Expression<'a>, CheckError> {
        let found = Operator::ALL
            .iter()
            .filter_map(|(symbol, operator)| text.find(symbol).map(|at| (at, symbol, *operator)));
        // Of several operators at one position `min_by_key` returns the first, which is the
        // longest.
        let Some((at, symbol, operator)) = found.min_by_key(|(at, _, _)| *at) else {
            let problem = format!("write it as PATH OPERATOR VALUE, such as {example}");
            return Err(CheckError { expression: text.to_owned(), problem });
        };
        let (path, limit) = (text[..at].trim(), text[at + symbol.len()..].trim());
        Ok(Expression { text, path, operator, limit })
    }

    /// An error about this expression.
    pub(super) fn error(&self, problem: impl Into<String>) -> CheckError {
        CheckError { expression: self.text.to_owned(), problem: problem.into() }
    }
}

/// Parses a limit: a number, or a quantity in the unit that run.json uses for it (µs, bytes, bytes
/// per second).
#[expect(
    clippy::cast_precision_loss,
    reason = "a limit that a person writes has fewer than 15 digits"
)]
pub(super) fn parse_limit(text: &str) -> Option<f64> {
    text.parse::<f64>()
        .ok()
        .or_else(|| text.parse::<Micros>().ok().map(|micros| micros.0 as f64))
        .or_else(|| text.parse::<Rate>().ok().map(|rate| rate.0 as f64))
        .or_else(|| text.parse::<Bytes>().ok().map(|bytes| bytes.0 as f64))
}
