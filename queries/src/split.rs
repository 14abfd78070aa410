//! Where a statement ends in a text of several.

use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::tokenizer::{Token, Tokenizer};

/// The bytes of `sql` up to and with the `;` that ends its first statement; none if no `;` does.
///
/// The tokenizer that the parser uses decides which `;` stand in quotes or comments, so that both read a text alike.
pub fn statement_end(sql: &str) -> Option<usize> {
    // Each candidate is tried with what stands before it. A text costs its length once, and once more for every `;`
    // that is quoted.
    sql.match_indices(';').map(|(at, _)| at + 1).find(|&end| {
        let tokens = Tokenizer::new(&GenericDialect {}, &sql[..end]).tokenize();
        tokens.is_ok_and(|tokens| tokens.last() == Some(&Token::SemiColon))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The statements of a text, and what is left behind the last `;`.
    fn cut(mut sql: &str) -> (Vec<&str>, &str) {
        let mut statements = Vec::new();
        while let Some(end) = statement_end(sql) {
            statements.push(&sql[..end]);
            sql = &sql[end..];
        }
        (statements, sql)
    }

    #[test]
    fn quotes_and_comments_hide_semicolons() {
        for one in [
            "select 1;",
            "select ';' as a, 'it''s;' as b;",
            "select \"a;b\" from `c;d`;",
            "select 1 -- not here; nor here\n;",
            "select /* ; /* nested; */ ; */ 1;",
            "select $$;$$, $tag$ ; $$ ; $tag$;",
            "select e'\\';' as a;",
        ] {
            assert_eq!(cut(one), (vec![one], ""), "{one}");
            crate::inspect(one).unwrap();
        }
    }

    #[test]
    fn an_open_quote_or_comment_is_not_an_end() {
        for open in ["", "select 1", "select ';", "select 1 -- ;", "/* ;", "select \";", "select $a$ ; $b$;"] {
            assert_eq!(statement_end(open), None, "{open}");
        }
    }

    #[test]
    fn statements_come_apart() {
        let text = "select 'é;' as x;\nselect $n; ;select 2";
        assert_eq!(cut(text), (vec!["select 'é;' as x;", "\nselect $n;", " ;"], "select 2"));
    }
}
