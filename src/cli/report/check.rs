//! Limits on the result of a run: `--fail-if 'downtime.best.us > 300ms'`.

use super::expression::{CheckError, Expression, Operator, parse_limit};
use record::{Check, Summary};
use serde_json::Value;

/// Evaluates `PATH OPERATOR VALUE` on `run.json`; the check passes if the expression is *not* true.
///
/// The path's names are those of `run.json`, with dots between them. The value is a number, text,
/// or a quantity with a unit: a duration becomes µs, a size bytes, a rate bytes per second, as in
/// `run.json`. The check does not pass if the figure was not measured (`null`).
///
/// # Errors
/// [`CheckError`] for an expression without operator, or a path that `run.json` does not have.
pub fn evaluate_check(expression: &str, summary: &Summary) -> Result<Check, CheckError> {
    let parsed = Expression::parse(expression, "'downtime.best.us > 300ms'")?;
    let Expression { path, operator, limit, .. } = parsed;
    let json = serde_json::to_value(summary).map_err(|error| parsed.error(error.to_string()))?;
    let mut actual = &json;
    for name in path.split('.') {
        actual = match actual {
            // A part of something that was not measured was not measured either.
            Value::Null => &Value::Null,
            other => other.get(name).ok_or_else(|| {
                parsed.error(format!("run.json has no `{path}` (`{name}` does not exist)"))
            })?,
        };
    }
    let is_true = match (actual, parse_limit(limit)) {
        (Value::Null, _) => true,
        (Value::Number(actual), Some(limit)) => {
            operator.is_true(actual.as_f64().unwrap_or(f64::NAN), limit)
        }
        (Value::String(text), None) => match operator {
            Operator::Equal => text == limit.trim_matches('"'),
            Operator::NotEqual => text != limit.trim_matches('"'),
            _ => {
                return Err(
                    parsed.error(format!("`{path}` is text, which only == and != can compare"))
                );
            }
        },
        _ => {
            return Err(parsed
                .error(format!("`{path}` is {actual}, which cannot be compared with `{limit}`")));
        }
    };
    Ok(Check {
        name: expression.to_owned(),
        limit: format!("{} {limit}", operator.symbol()),
        actual: actual.to_string(),
        pass: !is_true,
    })
}

/// Formats one line for each check.
#[must_use]
pub fn format_checks(checks: &[Check]) -> String {
    checks.iter().map(|check| format!("  check       {}\n", format_check(check))).collect()
}

/// Formats the result of one check.
pub(super) fn format_check(check: &Check) -> String {
    let result = if check.pass { "passed" } else { "FAILED" };
    format!("{result}: {}, the value is {}", check.name, check.actual)
}

#[cfg(test)]
mod tests {
    use super::*;
    use record::testing::example_summary as example;

    fn passes(expression: &str) -> bool {
        evaluate_check(expression, &example()).unwrap().pass
    }

    #[test]
    fn passes_if_the_expression_is_false_and_fails_if_it_is_true() {
        assert!(passes("downtime.best.us > 300ms"));
        assert!(!passes("downtime.best.us >= 4.7ms"));
        assert!(!passes("transfer.total_bytes>1MiB"));
        assert!(!passes("outcome == completed"));
        assert!(passes("guest.integrity != \"intact\""));
    }

    #[test]
    fn fails_if_the_figure_was_not_measured() {
        assert!(!passes("downtime.views.trace_us > 1s"));
        assert!(!passes("downtime.breakdown_us.ram > 1s"));
    }

    #[test]
    fn refuses_a_bad_expression_and_says_why() {
        for (expression, problem) in [
            ("downtime", "write it as PATH OPERATOR VALUE, such as 'downtime.best.us > 300ms'"),
            ("downtime.worst > 1ms", "run.json has no `downtime.worst` (`worst` does not exist)"),
            ("outcome > 3", "`outcome` is \"completed\", which cannot be compared with `3`"),
        ] {
            let error = evaluate_check(expression, &example()).unwrap_err();
            assert_eq!(error.to_string(), format!("--fail-if '{expression}': {problem}"));
        }
    }
}
