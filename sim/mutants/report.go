package main

import (
	"cmp"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
)

// nth are the finds of a bug as the number of seeds that each took, in the order of the starts; zero: it was not found.
func (s *suspect) nth(h *hunt) (list []uint64) {
	for k, f := range s.finds {
		n := uint64(0)
		if f != nil {
			n = f.Seed - h.start(k) + 1
		}
		list = append(list, n)
	}
	return list
}

// middle is the median and the largest of what it took; whoever was not found counts as the largest of all.
func middle(list []uint64) (median, worst uint64) {
	sorted := slices.Clone(list)
	slices.SortFunc(sorted, func(a, b uint64) int { return cmp.Compare(a-1, b-1) }) // zero comes last
	return sorted[len(sorted)/2], sorted[len(sorted)-1]
}

func (s *suspect) seeds(h *hunt) string {
	var words []string
	for _, n := range s.nth(h) {
		words = append(words, number(n))
	}
	return strings.Join(words, " ")
}

func number(n uint64) string {
	if n == 0 {
		return "-"
	}
	return strconv.FormatUint(n, 10)
}

// rules names the rules by which a bug was found, the most frequent first.
func (s *suspect) rules() string {
	count := map[string]int{}
	var names []string
	for _, f := range s.finds {
		if f == nil {
			continue
		}
		name := f.Name
		if f.Check != 0 {
			name = "check " + strconv.Itoa(f.Check)
		}
		if count[name]++; count[name] == 1 {
			names = append(names, name)
		}
	}
	slices.SortStableFunc(names, func(a, b string) int { return count[b] - count[a] })
	return strings.Join(names, ", ")
}

// report writes the table for a terminal.
func (h *hunt) report(w io.Writer) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "\nbug\tfound by\tmedian\tworst\tfrom each start")
	for _, s := range h.sorted() {
		median, worst := middle(s.nth(h))
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\n", s.name, s.rules(), number(median), number(worst), s.seeds(h))
	}
	t.Flush() //nolint:errcheck // a terminal that is gone
	fmt.Fprintf(w, "\n%d of %d bugs were found from all %d starts, in %d seeds and %v; %s\n",
		h.found, len(h.suspects), h.o.starts, h.seeds.Load(), time.Since(h.began).Round(time.Second), h.sound)
}

// sorted returns the bugs by what finding them took, the hardest last.
func (h *hunt) sorted() []*suspect {
	list := slices.Clone(h.suspects)
	slices.SortStableFunc(list, func(a, b *suspect) int {
		am, aw := middle(a.nth(h))
		bm, bw := middle(b.nth(h))
		return cmp.Or(cmp.Compare(am-1, bm-1), cmp.Compare(aw-1, bw-1))
	})
	return list
}

// markdown is the table for a page.
func (h *hunt) markdown() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d bugs, %d starts each, %d seeds in %v on %d cores; %s.\n\n", len(h.suspects), h.o.starts, h.seeds.Load(),
		time.Since(h.began).Round(time.Second), h.o.workers, h.sound)
	b.WriteString("| Bug | What is wrong | Stands for | Found by | Median | Worst |\n|---|---|---|---|---:|---:|\n")
	for _, s := range h.sorted() {
		median, worst := middle(s.nth(h))
		fmt.Fprintf(&b, "| [%s](../%s/%s%s) | %s | %s | %s | %s | %s |\n", s.name, bugsDir, s.name, bugSuffix, s.title, s.source, s.rules(), number(median), number(worst))
	}
	return b.String()
}

const (
	tableBegin = "<!-- mutants -->\n"
	tableEnd   = "<!-- mutants end -->\n"
)

// rewriteTable puts a table in the place of the one that a page has.
func rewriteTable(file, table string) error {
	page, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	before, rest, ok := strings.Cut(string(page), tableBegin)
	_, after, end := strings.Cut(rest, tableEnd)
	if !ok || !end {
		return fmt.Errorf("%s has no place for the table: lines %q and %q", file, strings.TrimSpace(tableBegin), strings.TrimSpace(tableEnd))
	}
	return os.WriteFile(file, []byte(before+tableBegin+table+tableEnd+after), 0o644)
}
