package main

import (
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"text/tabwriter"
	"time"
	"unicode/utf8"

	"golang.org/x/sys/unix"
)

// report is what a part has found.
type report struct {
	text     string // for a terminal
	markdown string // for a page
	aims     []aim
}

// aim is a number that oarlock is meant to reach, and the one that was measured. A missed one is no failure of the
// command: machines differ and noise is large. It is a line that nobody overlooks.
type aim struct {
	what string
	got  string
	want string
	met  bool
	note string // what speaks against believing it
}

func (a aim) verdict() string {
	if a.met {
		return "PASS"
	}
	return "SHORT OF THE AIM"
}

func writeAims(w io.Writer, aims []aim) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, a := range aims {
		fmt.Fprintf(t, "  %s\t%s\t%s\taim: %s\t%s\n", a.verdict(), a.what, a.got, a.want, a.note)
	}
	t.Flush() //nolint:errcheck // a terminal that is gone
}

func aimsMarkdown(aims []aim) string {
	if len(aims) == 0 {
		return ""
	}
	var rows [][]string
	for _, a := range aims {
		verdict := "**" + strings.ToLower(a.verdict()) + "**"
		if a.note != "" {
			verdict += ", " + a.note
		}
		rows = append(rows, []string{a.what, a.got, a.want, verdict})
	}
	return "\n" + markdownTable([]string{"what counts", "measured", "aim", ""}, rows, 1)
}

// textTable lays out a table for a terminal: the first left columns are words, the others numbers.
func textTable(columns []string, rows [][]string, left int) string {
	all := append([][]string{columns}, rows...)
	widths := make([]int, len(columns))
	for _, row := range all {
		for k, cell := range row {
			widths[k] = max(widths[k], utf8.RuneCountInString(cell))
		}
	}
	var b strings.Builder
	for _, row := range all {
		line := ""
		for k, cell := range row {
			pad := strings.Repeat(" ", widths[k]-utf8.RuneCountInString(cell))
			if k < left {
				line += "  " + cell + pad
			} else {
				line += "  " + pad + cell
			}
		}
		b.WriteString(strings.TrimRight(line, " ") + "\n")
	}
	return b.String()
}

// markdownTable lays out a table for a page; the first left columns are words, the others numbers.
func markdownTable(columns []string, rows [][]string, left int) string {
	var b strings.Builder
	b.WriteString("| " + strings.Join(columns, " | ") + " |\n|" + strings.Repeat("---|", left) + strings.Repeat("---:|", len(columns)-left) + "\n")
	for _, row := range rows {
		b.WriteString("| " + strings.Join(row, " | ") + " |\n")
	}
	return b.String()
}

// rewrite replaces what stands between the two marks of a part in a page.
func rewrite(path, name, content string) error {
	page, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	next, err := between(string(page), name, content)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return os.WriteFile(path, []byte(next), 0o644)
}

func between(page, name, content string) (string, error) {
	begin, end := "<!-- bench "+name+" -->", "<!-- bench end "+name+" -->"
	before, rest, ok := strings.Cut(page, begin)
	_, after, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		return "", fmt.Errorf("the marks %q and %q are not there", begin, end)
	}
	return before + begin + "\n\n" + strings.TrimSpace(content) + "\n\n" + end + after, nil
}

// machine is where something was measured, and how fast its disk and its loopback were in that minute.
type machine struct {
	cores       int
	model       string
	kernel      string
	fsync, trip time.Duration
}

func thisMachine(dir string) (m machine, err error) {
	at, err := os.MkdirTemp(dir, "oarlock-bench-")
	if err != nil {
		return m, err
	}
	defer os.RemoveAll(at) //nolint:errcheck // a file of a megabyte
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		return m, err
	}
	m = machine{cores: runtime.NumCPU(), model: model(), kernel: unix.ByteSliceToString(name.Release[:])}
	m.fsync, m.trip, err = probe(at)
	return m, err
}

// model is what the kernel calls the processor.
func model() string {
	info, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return runtime.GOARCH
	}
	for line := range strings.Lines(string(info)) {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return runtime.GOARCH
}

func (m machine) String() string {
	return fmt.Sprintf("%d cores (%s), Linux %s, %s; fdatasync %s, loopback round trip %s (medians)",
		m.cores, m.model, m.kernel, runtime.Version(), micros(m.fsync), micros(m.trip))
}

// line stands above a part's tables in a page.
func (m machine) line() string {
	return "Measured on " + time.Now().UTC().Format(time.DateOnly) + ": " + m.String() + "."
}
