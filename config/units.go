package config

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

func decimal(n int) string { return strconv.Itoa(n) }

var sizeUnits = []struct {
	name  string
	bytes int64
}{{"TiB", 1 << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}, {"B", 1}}

// parseSize reads "64 MiB", "512B" or a bare number of bytes. Decimal units (MB) are refused, because half of the world
// means the binary ones by them.
func parseSize(text string) (int64, error) {
	digits := strings.TrimSpace(text)
	end := strings.IndexFunc(digits, func(r rune) bool { return (r < '0' || r > '9') && r != '_' })
	unit := int64(1)
	if end >= 0 {
		name := strings.TrimSpace(digits[end:])
		digits = digits[:end]
		unit = 0
		for _, u := range sizeUnits {
			if u.name == name {
				unit = u.bytes
			}
		}
		if unit == 0 {
			return 0, fmt.Errorf("%q is not a size: write a whole number and B, KiB, MiB, GiB or TiB, like \"64 MiB\"", text)
		}
	}
	n, err := strconv.ParseInt(strings.ReplaceAll(digits, "_", ""), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%q is not a size: write a whole number and B, KiB, MiB, GiB or TiB, like \"64 MiB\"", text)
	}
	if n > math.MaxInt64/unit {
		return 0, fmt.Errorf("%q is larger than any memory", text)
	}
	return n * unit, nil
}

// formatSize writes a size with the largest unit that divides it.
func formatSize(n int64) string {
	for _, u := range sizeUnits {
		if n != 0 && n%u.bytes == 0 {
			return strconv.FormatInt(n/u.bytes, 10) + " " + u.name
		}
	}
	return strconv.FormatInt(n, 10) + " B"
}

var errDuration = errors.New("write a number and ns, us, ms, s, m or h, like \"300ms\"")

// parseDuration reads what time.ParseDuration reads, except a bare number, whose unit nobody can see.
func parseDuration(text string) (time.Duration, error) {
	text = strings.TrimSpace(text)
	if _, err := strconv.ParseFloat(text, 64); err == nil {
		return 0, fmt.Errorf("%q has no unit: %w", text, errDuration)
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		return 0, fmt.Errorf("%q is not a duration: %w", text, errDuration)
	}
	if d < 0 {
		return 0, fmt.Errorf("%q is negative", text)
	}
	return d, nil
}

// formatDuration writes a duration without the zero parts that time.Duration.String leaves ("1h0m0s").
func formatDuration(d time.Duration) string {
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}
