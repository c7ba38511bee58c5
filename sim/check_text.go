package sim

import "strings"

// storyLines is how much of a story Check logs.
const storyLines = 60

// lastLines returns the end of a text.
func lastLines(text string, n int) string {
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	if len(lines) > n {
		lines = append([]string{"  … the beginning is in Finding.Story"}, lines[len(lines)-n:]...)
	}
	return strings.Join(lines, "\n")
}
