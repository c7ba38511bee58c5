package floorplan

import (
	"fmt"
	"maps"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// documents reads every Markdown file of the module, by its path.
func documents(t *testing.T) map[string]string {
	t.Helper()
	all := make(map[string]string)
	walk(t, func(name, full string) {
		if !strings.HasSuffix(name, ".md") {
			return
		}
		content, err := os.ReadFile(full)
		if err != nil {
			t.Fatal(err)
		}
		all[name] = string(content)
	})
	return all
}

var (
	linkPattern    = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	headingPattern = regexp.MustCompile(`(?m)^#{1,6} +(.+?) *$`)
	fencePattern   = regexp.MustCompile("(?ms)^```.*?^```")
	notInAnchor    = regexp.MustCompile(`[^\p{L}\p{N} _-]`)
)

// anchors returns the names under which the headings of a document can be linked to, as GitHub makes them.
func anchors(document string) map[string]bool {
	found := make(map[string]bool)
	for _, m := range headingPattern.FindAllStringSubmatch(fencePattern.ReplaceAllString(document, ""), -1) {
		name := notInAnchor.ReplaceAllString(strings.ToLower(m[1]), "")
		found[strings.ReplaceAll(name, " ", "-")] = true
	}
	return found
}

// deadLinks returns the links of one document that lead nowhere. exists answers for paths from the module's root.
func deadLinks(name string, all map[string]string, exists func(string) bool) []string {
	var dead []string
	for _, m := range linkPattern.FindAllStringSubmatch(fencePattern.ReplaceAllString(all[name], ""), -1) {
		link := m[1]
		if strings.Contains(link, "://") || strings.HasPrefix(link, "mailto:") {
			continue
		}
		file, anchor, _ := strings.Cut(link, "#")
		target := name
		if file != "" {
			target = path.Join(path.Dir(name), file)
		}
		if !exists(target) {
			dead = append(dead, fmt.Sprintf("%s: %s: no such file", name, link))
			continue
		}
		if anchor != "" && strings.HasSuffix(target, ".md") && !anchors(all[target])[anchor] {
			dead = append(dead, fmt.Sprintf("%s: %s: no such heading", name, link))
		}
	}
	return dead
}

func existsInModule(t *testing.T) func(string) bool {
	root := moduleRoot(t)
	return func(name string) bool {
		_, err := os.Stat(filepath.Join(root, filepath.FromSlash(name)))
		return err == nil
	}
}

func TestEveryLinkInTheDocumentsLeadsSomewhere(t *testing.T) {
	all := documents(t)
	var dead []string
	for _, name := range slices.Sorted(maps.Keys(all)) {
		dead = append(dead, deadLinks(name, all, existsInModule(t))...)
	}
	report(t, "dead links", dead)
}

func TestLinkRuleFindsDeadFilesAndHeadings(t *testing.T) {
	all := map[string]string{
		"docs/a.md": "# One Two, `three`\n[ok](b.md) [ok](#one-two-three) [dead](c.md) [dead](b.md#no) [out](https://x.y/z)\n```\n[code](none.md)\n```\n",
		"docs/b.md": "# B\n",
	}
	exists := func(name string) bool { _, ok := all[name]; return ok }
	if got := deadLinks("docs/a.md", all, exists); len(got) != 2 {
		t.Errorf("want c.md and b.md#no, got %q", got)
	}
}

var documentName = regexp.MustCompile(`\bdocs/[a-z0-9/_-]+\.md\b`)

func TestDocumentsNamedInCommentsExist(t *testing.T) {
	exists := existsInModule(t)
	var missing []string
	for _, s := range sources(t) {
		if s.pkg == "internal/floorplan" {
			continue
		}
		for _, group := range s.file.Comments {
			for _, name := range documentName.FindAllString(group.Text(), -1) {
				if !exists(name) {
					missing = append(missing, s.at(group.Pos())+": "+name)
				}
			}
		}
	}
	report(t, "documents that are not there", missing)
}

func TestEveryDecisionIsInTheIndex(t *testing.T) {
	all := documents(t)
	index := all["docs/decisions/README.md"]
	var missing []string
	for _, name := range slices.Sorted(maps.Keys(all)) {
		base := path.Base(name)
		if path.Dir(name) == "docs/decisions" && base != "README.md" && !strings.Contains(index, "("+base+")") {
			missing = append(missing, name)
		}
		if path.Dir(name) == "docs/decisions" && base != "README.md" && !strings.Contains(all[name], "**What would change our mind.**") {
			missing = append(missing, name+": does not say what would change our mind")
		}
	}
	report(t, "decisions", missing)
}

var tableRow = regexp.MustCompile("(?m)^\\| `([^`]+)` \\|")

// section returns what stands under a heading of a document, up to the next heading of the same depth.
func section(document, heading string) string {
	_, rest, found := strings.Cut(document, "\n"+heading+"\n")
	if !found {
		return ""
	}
	depth := heading[:strings.Index(heading, " ")+1]
	if end := strings.Index(rest, "\n"+depth); end >= 0 {
		rest = rest[:end]
	}
	return rest
}

func TestArchitectureListsThePackagesThatAreThere(t *testing.T) {
	listed := make(map[string]bool)
	for _, m := range tableRow.FindAllStringSubmatch(section(documents(t)["ARCHITECTURE.md"], "## Packages"), -1) {
		listed[m[1]] = true
	}
	there := make(map[string]bool)
	for _, s := range sources(t) {
		if !s.test && !fits("examples/...", s.pkg) {
			there[s.pkg] = true
		}
	}
	var wrong []string
	for _, pkg := range slices.Sorted(maps.Keys(there)) {
		if !listed[pkg] {
			wrong = append(wrong, pkg+" has no row")
		}
	}
	for _, pkg := range slices.Sorted(maps.Keys(listed)) {
		if !there[pkg] {
			wrong = append(wrong, pkg+" has a row and no code")
		}
	}
	report(t, "the table under \"Packages\" in ARCHITECTURE.md", wrong)
}

var requirement = regexp.MustCompile(`(?m)^(?:require )?\s*([a-z0-9.-]+\.[a-z]+/[^\s]+|pgregory\.net/rapid|go\.uber\.org/[^\s]+) v`)

func TestEveryDependencyHasItsReason(t *testing.T) {
	content, err := os.ReadFile(filepath.Join(moduleRoot(t), "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	var modules []string
	for _, m := range requirement.FindAllStringSubmatch(string(content), -1) {
		modules = append(modules, m[1])
	}
	used := make(map[string]string)
	for _, s := range sources(t) {
		for name, at := range s.imports() {
			for _, module := range modules {
				if name == module || strings.HasPrefix(name, module+"/") {
					used[module] = at
				}
			}
		}
	}
	if len(used) == 0 {
		t.Fatal("no dependency found: the pattern for go.mod is broken")
	}
	reasons := make(map[string]bool)
	for _, m := range tableRow.FindAllStringSubmatch(documents(t)["docs/dependencies.md"], -1) {
		reasons[m[1]] = true
	}
	var wrong []string
	for _, module := range slices.Sorted(maps.Keys(used)) {
		if !reasons[module] {
			wrong = append(wrong, fmt.Sprintf("%s: %s has no reason", used[module], module))
		}
	}
	for _, module := range slices.Sorted(maps.Keys(reasons)) {
		if !slices.Contains(modules, module) {
			wrong = append(wrong, module+" has a reason and is not in go.mod")
		}
	}
	report(t, "docs/dependencies.md", wrong)
}
