package main

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// demoView prints the demo's story. On a terminal the last line counts the keys as they are written.
type demoView struct {
	mu    sync.Mutex
	w     io.Writer
	tty   bool
	began time.Time
	drawn time.Time
	live  bool // the cursor stands behind a progress line
}

func newDemoView(f *os.File) *demoView {
	info, err := f.Stat()
	tty := err == nil && info.Mode()&os.ModeCharDevice != 0 && os.Getenv("TERM") != "dumb" && os.Getenv("NO_COLOR") == ""
	return &demoView{w: f, tty: tty, began: time.Now()}
}

func (v *demoView) print(style, format string, a ...any) {
	v.mu.Lock()
	defer v.mu.Unlock()
	text := fmt.Sprintf(format, a...)
	if v.live {
		fmt.Fprint(v.w, "\r\x1b[K")
		v.live = false
	}
	if v.tty && style != "" {
		text = "\x1b[" + style + "m" + text + "\x1b[0m"
	}
	fmt.Fprintln(v.w, text)
}

func (v *demoView) title(text string) { v.print("1", "\n  %s", text) }

func (v *demoView) section(text string) { v.print("1;36", "\n  %s\n", text) }

func (v *demoView) line(format string, a ...any) { v.print("", "             "+format, a...) }

// event prints what has happened, with the time since the demo began.
func (v *demoView) event(_ time.Time, format string, a ...any) {
	v.print("", "  %8s   %s", v.clock(), fmt.Sprintf(format, a...))
}

func (v *demoView) kill(format string, a ...any) {
	v.print("31", "  %8s   %s", v.clock(), fmt.Sprintf(format, a...))
}

func (v *demoView) clock() string { return fmt.Sprintf("%.2f s", time.Since(v.began).Seconds()) }

// progress shows the count, a few times a second, where somebody watches.
func (v *demoView) progress(keys int) {
	if !v.tty {
		return
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if time.Since(v.drawn) < 80*time.Millisecond {
		return
	}
	v.drawn, v.live = time.Now(), true
	fmt.Fprintf(v.w, "\r\x1b[K\x1b[2m  %8s   %s keys written\x1b[0m", v.clock(), thousands(keys))
}

func (v *demoView) end() {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.live {
		fmt.Fprint(v.w, "\r\x1b[K")
		v.live = false
	}
}

func (v *demoView) summary(d *demo, unknown, lost int, same bool) {
	verdict, style := "nothing was lost", "1;32"
	if lost > 0 || !same {
		verdict, style = "SOMETHING WAS LOST", "1;31"
	}
	states := "equal on all " + inWords(len(d.cluster.processes)) + " servers"
	switch {
	case !same:
		states = "DIFFERENT"
	case len(d.cluster.processes) == 1:
		states = "on the one server that is left"
	}
	acked, _ := d.load.results()
	v.section("what was found")
	v.line("keys acknowledged      %s, each applied once", thousands(acked))
	if d.pauses == nil {
		v.line("outcome unknown        %s, when the writers were stopped", thousands(unknown))
	} else {
		v.line("calls that failed      %s", thousands(unknown))
	}
	v.line("missing or wrong       %s", thousands(lost))
	v.line("state                  %s", states)
	if len(d.failovers) > 0 {
		v.line("leader killed          %d times; writes went on after %s", len(d.failovers), list(d.failovers))
		v.line("dead servers           caught up after %s", list(d.catchUps))
	}
	v.line("time                   %s", v.clock())
	v.print(style, "\n  %s\n", verdict)
}

// inWords is a small number as people write it.
func inWords(n int) string {
	if words := [...]string{"no", "one", "two", "three", "four", "five"}; n < len(words) {
		return words[n]
	}
	return strconv.Itoa(n)
}

func list(d []time.Duration) string {
	sorted := slices.Sorted(slices.Values(d))
	words := make([]string, 0, len(sorted))
	for _, each := range sorted {
		words = append(words, milliseconds(each))
	}
	return strings.Join(words, ", ")
}

func milliseconds(d time.Duration) string {
	return strconv.FormatInt(d.Milliseconds(), 10) + " ms"
}

// thousands writes a number the way people read it.
func thousands(n int) string {
	s := strconv.Itoa(n)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
