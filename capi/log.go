package main

/*
#include "internal.h"
*/
import "C"

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"
	"unsafe"

	"github.com/oarlock/oarlock/config"
)

// logLine is a record of the log as C gets it.
type logLine struct {
	level     slog.Level
	component string
	text      string
}

// logBox hands lines to a callback on a goroutine of its own, so that a slow one delays only itself. Its nil value takes
// nothing.
type logBox struct {
	object *C.struct_oar_server_object
	levels config.Levels
	lines  chan *logLine

	mu      sync.Mutex
	dropped int
	closed  bool
	done    chan struct{}
}

// logLinesMax is how many lines wait for the callback.
const logLinesMax = 4096

func newLogBox(object *C.struct_oar_server_object, levels string) (*logBox, error) {
	parsed, err := config.ParseLevels(levels)
	if err != nil {
		return nil, err
	}
	b := &logBox{object: object, levels: parsed, lines: make(chan *logLine, logLinesMax), done: make(chan struct{})}
	go func() {
		defer close(b.done)
		for l := range b.lines {
			b.call(l)
		}
	}()
	return b, nil
}

func (b *logBox) call(l *logLine) {
	component, text := C.CString(l.component), C.CString(l.text)
	defer C.free(unsafe.Pointer(component))
	defer C.free(unsafe.Pointer(text))
	C.oar_server_log(b.object, C.int(l.level), component, text)
}

func (b *logBox) put(l *logLine) {
	if b == nil || l.level < b.levels.Of(l.component) {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return
	}
	if b.dropped > 0 && cap(b.lines)-len(b.lines) >= 2 {
		b.lines <- &logLine{level: slog.LevelWarn, component: "server", text: fmt.Sprintf("%d lines were not logged: the callback is too slow", b.dropped)}
		b.dropped = 0
	}
	if b.dropped == 0 {
		select {
		case b.lines <- l:
			return
		default:
		}
	}
	b.dropped++
}

// close returns true when the callback has had everything, and false if over comes before.
func (b *logBox) close(over <-chan time.Time) bool {
	if b == nil {
		return true
	}
	b.mu.Lock()
	if !b.closed {
		b.closed = true
		close(b.lines)
	}
	b.mu.Unlock()
	select {
	case <-b.done:
		return true
	case <-over:
		return false
	}
}

// lineHandler makes lines of records. Handlers that were derived from one another share the sink.
type lineHandler struct {
	sink      *lineSink
	text      slog.Handler
	component string
	grouped   bool
}

// lineSink receives what the text handler writes of one record at a time.
type lineSink struct {
	take  func(l *logLine)
	wants func(component string, level slog.Level) bool
	mu    sync.Mutex
	line  logLine
}

func newLineHandler(take func(l *logLine), wants func(component string, level slog.Level) bool) slog.Handler {
	sink := &lineSink{take: take, wants: wants}
	text := slog.NewTextHandler(sink, &slog.HandlerOptions{Level: slog.LevelDebug, ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
		switch a.Key {
		case slog.TimeKey, slog.LevelKey, slog.MessageKey, config.ComponentKey:
			if len(groups) == 0 {
				return slog.Attr{}
			}
		}
		return a
	}})
	return &lineHandler{sink: sink, text: text}
}

// Write implements io.Writer: it is called once for each record, while Handle holds mu.
func (s *lineSink) Write(p []byte) (int, error) {
	rest := strings.TrimSpace(string(bytes.TrimSpace(p)))
	line := s.line
	if rest != "" {
		line.text += " " + rest
	}
	s.take(&line)
	return len(p), nil
}

// Enabled implements slog.Handler.
func (h *lineHandler) Enabled(_ context.Context, level slog.Level) bool {
	return h.sink.wants(h.component, level)
}

// Handle implements slog.Handler.
func (h *lineHandler) Handle(ctx context.Context, r slog.Record) error {
	h.sink.mu.Lock()
	defer h.sink.mu.Unlock()
	h.sink.line = logLine{level: r.Level, component: h.component, text: r.Message}
	return h.text.Handle(ctx, r)
}

// WithAttrs implements slog.Handler.
func (h *lineHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	n := *h
	n.text = h.text.WithAttrs(attrs)
	for _, a := range attrs {
		if a.Key == config.ComponentKey && !h.grouped {
			n.component = a.Value.String()
		}
	}
	return &n
}

// WithGroup implements slog.Handler.
func (h *lineHandler) WithGroup(name string) slog.Handler {
	n := *h
	n.text = h.text.WithGroup(name)
	n.grouped = n.grouped || name != ""
	return &n
}
