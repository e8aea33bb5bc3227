//! Limits on a result: `downtime.best.us > 300ms`, given with `--fail-if`.

use crate::record::{Check, Summary};
use crate::units::{Bytes, Micros, Rate};
use serde_json::Value;

/// An expression that cannot be evaluated.
#[derive(Debug, thiserror::Error)]
#[error("--fail-if '{expression}': {problem}")]
pub struct CheckError {
    expression: String,
    problem: String,
}

const OPERATORS: &[&str] = &[">=", "<=", "==", "!=", ">", "<"];

/// `PATH OPERATOR VALUE`, taken apart.
pub(super) struct Expression<'a> {
    text: &'a str,
    pub(super) path: &'a str,
    pub(super) operator: &'static str,
    pub(super) limit: &'a str,
}

impl<'a> Expression<'a> {
    /// `example` goes into the refusal.
    pub(super) fn parse(text: &'a str, example: &str) -> Result<Expression<'a>, CheckError> {
        let found = OPERATORS.iter().filter_map(|op| text.find(op).map(|at| (at, *op)));
        let Some((at, operator)) = found.min_by_key(|(at, op)| (*at, 3 - op.len())) else {
            let problem = format!("write it as PATH OPERATOR VALUE, such as {example}");
            return Err(CheckError { expression: text.to_owned(), problem });
        };
        Ok(Expression {
            text,
            path: text[..at].trim(),
            operator,
            limit: text[at + operator.len()..].trim(),
        })
    }

    /// It cannot be evaluated.
    pub(super) fn refuse(&self, problem: impl Into<String>) -> CheckError {
        CheckError { expression: self.text.to_owned(), problem: problem.into() }
    }
}

/// Evaluates `PATH OPERATOR VALUE` on `run.json`; the check passes if the expression is *not* true.
///
/// The path's names are those of `run.json`, with dots. The value is a number, text, or a quantity with a unit: durations become
/// µs, sizes bytes, rates bytes a second, as the names say. A value that was not measured (`null`) does not pass.
///
/// # Errors
/// [`CheckError`] for an expression without operator, or a path that `run.json` does not have.
pub fn evaluate_check(expression: &str, summary: &Summary) -> Result<Check, CheckError> {
    let parsed = Expression::parse(expression, "'downtime.best.us > 300ms'")?;
    let Expression { path, operator, limit, .. } = parsed;
    let json = serde_json::to_value(summary).map_err(|error| parsed.refuse(error.to_string()))?;
    let mut actual = &json;
    for name in path.split('.') {
        actual = match actual {
            // What hangs below something that was not measured was not measured either.
            Value::Null => &Value::Null,
            other => other.get(name).ok_or_else(|| {
                parsed.refuse(format!("run.json has no `{path}` (`{name}` is not there)"))
            })?,
        };
    }
    let failed = match (actual, number(limit)) {
        (Value::Null, _) => true,
        (Value::Number(actual), Some(limit)) => {
            compare(actual.as_f64().unwrap_or(f64::NAN), operator, limit)
        }
        (Value::String(text), None) => match operator {
            "==" => text == limit.trim_matches('"'),
            "!=" => text != limit.trim_matches('"'),
            _ => return Err(parsed.refuse(format!("`{path}` is text: only == and != work on it"))),
        },
        _ => {
            return Err(parsed
                .refuse(format!("`{path}` is {actual}, which cannot be compared with `{limit}`")));
        }
    };
    let limit = format!("{operator} {limit}");
    Ok(Check { name: expression.to_owned(), limit, actual: actual.to_string(), pass: !failed })
}

/// A number, or a quantity in the unit that names have: µs, bytes, bytes a second.
#[expect(
    clippy::cast_precision_loss,
    reason = "a bound given by a person has fewer than 15 digits"
)]
pub(super) fn number(text: &str) -> Option<f64> {
    text.parse::<f64>()
        .ok()
        .or_else(|| text.parse::<Micros>().ok().map(|micros| micros.0 as f64))
        .or_else(|| text.parse::<Rate>().ok().map(|rate| rate.0 as f64))
        .or_else(|| text.parse::<Bytes>().ok().map(|bytes| bytes.0 as f64))
}

#[expect(clippy::float_cmp, reason = "== is what was asked for")]
pub(super) fn compare(actual: f64, operator: &str, limit: f64) -> bool {
    match operator {
        ">" => actual > limit,
        ">=" => actual >= limit,
        "<" => actual < limit,
        "<=" => actual <= limit,
        "==" => actual == limit,
        _ => actual != limit,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::testing::example_summary as example;

    fn passes(expression: &str) -> bool {
        evaluate_check(expression, &example()).unwrap().pass
    }

    #[test]
    fn a_limit_that_is_kept_passes_and_one_that_is_broken_does_not() {
        assert!(passes("downtime.best.us > 300ms"));
        assert!(!passes("downtime.best.us >= 4.7ms"));
        assert!(!passes("transfer.total_bytes>1MiB"));
        assert!(!passes("outcome == completed"));
        assert!(passes("guest.integrity != \"intact\""));
    }

    #[test]
    fn what_was_not_measured_does_not_pass() {
        assert!(!passes("downtime.views.trace_us > 1s"));
        assert!(!passes("downtime.breakdown_us.ram > 1s"));
    }

    #[test]
    fn nonsense_is_refused_with_the_reason() {
        let message = |expression| evaluate_check(expression, &example()).unwrap_err().to_string();
        insta::assert_snapshot!(message("downtime"), @"--fail-if 'downtime': write it as PATH OPERATOR VALUE, such as 'downtime.best.us > 300ms'");
        insta::assert_snapshot!(message("downtime.worst > 1ms"), @"--fail-if 'downtime.worst > 1ms': run.json has no `downtime.worst` (`worst` is not there)");
        insta::assert_snapshot!(message("outcome > 3"), @r#"--fail-if 'outcome > 3': `outcome` is "completed", which cannot be compared with `3`"#);
    }
}
