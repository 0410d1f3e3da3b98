//! Plots of the last hour: bars by the minute, drawn here as SVG, with the same numbers as a table.

use maud::{Markup, html};

use super::traffic::{MINUTES, Series};

/// The drawing, in units of its own.
const WIDTH: u64 = 720;
const LEFT: u64 = 48;
const TOP: u64 = 12;
const HEIGHT: u64 = 160;
const FLOOR: u64 = TOP + HEIGHT;
const STEP: u64 = (WIDTH - LEFT) / MINUTES as u64;

/// Minutes of one column of the table.
const SPAN: usize = 10;

/// A plot of `series`, one upon the other, with its legend and its table. `id` tells it from others on the page.
pub(super) fn plot(id: &str, title: &str, series: &[Series]) -> Markup {
    let total: u64 = series.iter().map(Series::total).sum();
    html! {
        figure class="plot" id=(id) aria-labelledby=(format!("{id}-title")) {
            figcaption { h2 id=(format!("{id}-title")) { (title) } }
            @if total == 0 {
                p class="empty" { "None in the last hour." }
            } @else {
                (drawing(id, title, series))
                (legend(series))
                (table(title, series))
            }
        }
    }
}

fn drawing(id: &str, title: &str, series: &[Series]) -> Markup {
    let highest = (0..MINUTES).map(|minute| height(series, minute)).max().unwrap_or_default();
    let top = scale(highest);
    let (label, sums) = (format!("{id}-label"), series.iter().map(|one| format!("{} {}", one.total(), one.name)));
    html! {
        svg viewBox=(format!("0 0 {WIDTH} {}", FLOOR + 28)) role="img" aria-labelledby=(label) {
            title id=(label) { (title) ", by the minute: " (sums.collect::<Vec<_>>().join(", ")) "." }
            @for (part, value) in [(0, 0), (1, top / 2), (2, top)] {
                @let y = FLOOR - HEIGHT * part / 2;
                line class="grid" x1=(LEFT) x2=(WIDTH) y1=(y) y2=(y) {}
                text class="tick" x=(LEFT - 8) y=(y + 6) text-anchor="end" { (value) }
            }
            @for minute in 0..MINUTES {
                (bar(series, minute, top))
            }
            @for (minute, text, anchor) in [(0, "an hour ago", "start"), (30, "half an hour", "middle"), (60, "now", "end")] {
                text class="tick" x=(LEFT + minute * STEP) y=(FLOOR + 20) text-anchor=(anchor) { (text) }
            }
        }
    }
}

/// What there was in one minute, as a bar.
fn bar(series: &[Series], minute: usize, top: u64) -> Markup {
    let pieces = series.iter().enumerate().filter(|(_, one)| one.values[minute] > 0);
    let pieces = pieces.scan(0, |below, (at, one)| {
        let from = HEIGHT * *below / top;
        *below += one.values[minute];
        // Whatever there is can be seen.
        Some((at, (HEIGHT * *below / top).max(from + 1), from))
    });
    html! {
        g {
            title { (ago(minute)) ": " (height(series, minute)) }
            @for (at, to, from) in pieces {
                @let x = LEFT + minute as u64 * STEP + 1;
                rect class=(format!("s{at}")) x=(x) y=(FLOOR - to) width=(STEP - 2) height=(to - from) {}
            }
        }
    }
}

fn legend(series: &[Series]) -> Markup {
    html! {
        ul class="legend" {
            @for (at, one) in series.iter().enumerate() {
                li {
                    span class=(format!("swatch s{at}")) aria-hidden="true" {}
                    (one.name) " " b { (one.total()) }
                }
            }
        }
    }
}

fn table(title: &str, series: &[Series]) -> Markup {
    html! {
        details {
            summary { "The same as a table" }
            div class="scroll" tabindex="0" role="region" aria-label=(format!("{title}, as a table")) {
                table {
                    caption { (title) ", by minutes ago" }
                    thead {
                        tr {
                            th scope="col" { "What" }
                            @for from in (0..MINUTES).step_by(SPAN) {
                                th scope="col" class="number" { (MINUTES - from) "–" (MINUTES - from - SPAN) }
                            }
                        }
                    }
                    tbody {
                        @for one in series {
                            tr {
                                th scope="row" { (one.name) }
                                @for span in one.values.chunks(SPAN) {
                                    td class="number" { (span.iter().sum::<u64>()) }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn height(series: &[Series], minute: usize) -> u64 {
    series.iter().map(|one| one.values[minute]).sum()
}

fn ago(minute: usize) -> String {
    match MINUTES - 1 - minute {
        0 => "this minute".to_owned(),
        1 => "a minute ago".to_owned(),
        minutes => format!("{minutes} minutes ago"),
    }
}

/// The least of 2, 10, 20, 100, … and their halves of ten that `highest` fits below, so that half of it is whole.
fn scale(highest: u64) -> u64 {
    let mut power = 1_u64;
    loop {
        for factor in [2, 4, 10] {
            let top = power.saturating_mul(factor);
            if top >= highest || top == u64::MAX {
                return top;
            }
        }
        power = power.saturating_mul(10);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(name: &str, last: u64) -> Series {
        let mut values = [0; MINUTES];
        values[MINUTES - 1] = last;
        Series { name: name.into(), values }
    }

    #[test]
    fn a_scale_is_round_and_reaches() {
        for (highest, expected) in [(0, 2), (1, 2), (3, 4), (5, 10), (11, 20), (21, 40), (99, 100), (101, 200)] {
            assert_eq!(scale(highest), expected, "{highest}");
        }
        assert_eq!(scale(u64::MAX), u64::MAX);
    }

    #[test]
    fn names_are_text_and_numbers_stand_in_the_table() {
        let plot = plot("p", "Requests", &[series("<script>", 7), series("b", 1)]).0;
        assert!(!plot.contains("<script") && plot.contains("&lt;script&gt;"), "{plot}");
        assert!(plot.contains("<td class=\"number\">7</td>"), "{plot}");
        assert_eq!(plot.matches("<rect ").count(), 2);
        let large = super::plot("p", "Requests", &[series("a", u64::MAX / 1000)]).0;
        assert_eq!(large.matches("<rect ").count(), 1);
        assert!(!super::plot("p", "Requests", &[series("a", 0)]).0.contains("<svg"));
    }
}
