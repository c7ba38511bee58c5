package smtest

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// How many bytes of a command, a result or a state a report shows.
const (
	textMax = 120
	hexMax  = 48
)

// printable returns b quoted if all of it can be printed.
func printable(b []byte) string {
	if len(b) == 0 || unprintable(b) > 0 || strings.ContainsRune(string(b), utf8.RuneError) {
		return ""
	}
	return strconv.Quote(string(b))
}

// unprintable is how many of the bytes are of no character that can be printed.
func unprintable(b []byte) (n int) {
	for len(b) > 0 {
		r, size := utf8.DecodeRune(b)
		if r == utf8.RuneError && size == 1 || r != ' ' && !unicode.IsGraphic(r) {
			n += size
		}
		b = b[size:]
	}
	return n
}

// Shown is the beginning of b: as text if most of it can be printed, with what cannot be escaped as in Go, otherwise in hexadecimal.
// For those who build on this suite.
func Shown(b []byte) string {
	if len(b) == 0 {
		return "no bytes"
	}
	part := whole(b[:min(len(b), textMax)], len(b) > textMax)
	text := strconv.Quote(string(part))
	switch {
	case unprintable(part)*4 > len(part):
		part = b[:min(len(b), hexMax)]
		text = fmt.Sprintf("% x", part)
	case strings.ContainsAny(string(part), "\"\\") && strconv.CanBackquote(string(part)):
		text = "`" + string(part) + "`"
	}
	if len(part) < len(b) {
		text += fmt.Sprintf(" … (%d bytes)", len(b))
	}
	return text
}

func shown(b []byte) string { return Shown(b) }

// whole leaves out a character at the end of b that was cut in two.
func whole(b []byte, cut bool) []byte {
	for i := 1; cut && i < utf8.UTFMax && i < len(b); i++ {
		if at := len(b) - i; utf8.RuneStart(b[at]) {
			if !utf8.FullRune(b[at:]) {
				return b[:at]
			}
			break
		}
	}
	return b
}
