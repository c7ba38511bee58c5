package floorplan

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/token"
	"regexp"
	"testing"
)

const (
	fileLinesMax     = 400 // a file can be read in an hour
	functionLinesMax = 70  // a function fits on a screen
)

var generated = regexp.MustCompile(`(?m)^// Code generated .* DO NOT EDIT\.$`)

func oversize(s *source) []string {
	if s.test || generated.Match(s.content) {
		return nil
	}
	var found []string
	if lines := bytes.Count(s.content, []byte("\n")); lines >= fileLinesMax {
		found = append(found, fmt.Sprintf("%s: %d lines, a file stays below %d", s.path, lines, fileLinesMax))
	}
	for _, decl := range s.file.Decls {
		if f, ok := decl.(*ast.FuncDecl); ok {
			lines := s.fset.Position(f.End()).Line - s.fset.Position(f.Pos()).Line + 1
			if lines >= functionLinesMax {
				found = append(found, fmt.Sprintf("%s: %s has %d lines, a function stays below %d", s.at(f.Pos()), f.Name.Name, lines, functionLinesMax))
			}
		}
	}
	return found
}

func TestFilesAndFunctionsCanBeReadInOneSitting(t *testing.T) {
	var found []string
	for _, s := range sources(t) {
		found = append(found, oversize(s)...)
	}
	report(t, "too long", found)
}

// undocumented returns the exported names of a file without a comment. A group's comment, or one behind a name, serves.
func undocumented(s *source) []string {
	if s.test || s.file.Name.Name == "main" {
		return nil
	}
	var found []string
	missing := func(pos token.Pos, name string) { found = append(found, s.at(pos)+": "+name) }
	for _, decl := range s.file.Decls {
		switch d := decl.(type) {
		case *ast.FuncDecl:
			if d.Name.IsExported() && d.Doc == nil && (d.Recv == nil || receiverExported(d.Recv)) {
				missing(d.Pos(), d.Name.Name)
			}
		case *ast.GenDecl:
			for _, spec := range d.Specs {
				for _, name := range undocumentedSpec(d, spec) {
					missing(spec.Pos(), name)
				}
			}
		}
	}
	return found
}

func undocumentedSpec(d *ast.GenDecl, spec ast.Spec) []string {
	switch sp := spec.(type) {
	case *ast.TypeSpec:
		if sp.Name.IsExported() && sp.Doc == nil && sp.Comment == nil && d.Doc == nil {
			return []string{sp.Name.Name}
		}
	case *ast.ValueSpec:
		if sp.Doc != nil || sp.Comment != nil || d.Doc != nil {
			return nil
		}
		var names []string
		for _, name := range sp.Names {
			if name.IsExported() {
				names = append(names, name.Name)
			}
		}
		return names
	}
	return nil
}

func receiverExported(recv *ast.FieldList) bool {
	expr := recv.List[0].Type
	for {
		switch e := expr.(type) {
		case *ast.StarExpr:
			expr = e.X
		case *ast.IndexExpr:
			expr = e.X
		case *ast.IndexListExpr:
			expr = e.X
		case *ast.Ident:
			return e.IsExported()
		default:
			return false
		}
	}
}

func TestEveryExportedNameIsDocumented(t *testing.T) {
	var found []string
	documented := make(map[string]bool)
	for _, s := range sources(t) {
		found = append(found, undocumented(s)...)
		if !s.test {
			documented[s.pkg] = documented[s.pkg] || s.file.Doc != nil
		}
	}
	for pkg, ok := range documented {
		if !ok {
			found = append(found, pkg+": the package has no comment")
		}
	}
	report(t, "without a comment", found)
}

// unfinished matches the marks that people leave in place of work. It is put together so that it does not match itself.
var unfinished = regexp.MustCompile(`\b(` + "TO" + "DO|FIX" + "ME|XX" + "X|HA" + `CK)\b`)

func TestNothingIsMarkedAsUnfinished(t *testing.T) {
	var found []string
	for _, s := range sources(t) {
		for _, group := range s.file.Comments {
			for _, comment := range group.List {
				if mark := unfinished.FindString(comment.Text); mark != "" {
					found = append(found, s.at(comment.Pos())+": "+mark)
				}
			}
		}
	}
	report(t, "marks of unfinished work", found)
}

func TestSizeAndCommentRulesFindWhatTheyLookFor(t *testing.T) {
	long := "package p\n\n// F is long.\nfunc F() {\n" + string(bytes.Repeat([]byte("\t_ = 0\n"), functionLinesMax)) + "}\n"
	if got := oversize(parseSource(t, "p/a.go", long)); len(got) != 1 {
		t.Errorf("long function: %q", got)
	}
	if got := oversize(parseSource(t, "p/a.go", "package p\n"+string(bytes.Repeat([]byte("\n"), fileLinesMax)))); len(got) != 1 {
		t.Errorf("long file: %q", got)
	}
	bare := "package p\ntype T int\nfunc F() {}\nfunc (t *T) M() {}\nconst C = 1\nvar V int\nfunc (u unseen) N() {}\ntype unseen int\n"
	if got := undocumented(parseSource(t, "p/a.go", bare)); len(got) != 5 {
		t.Errorf("want T, F, M, C and V, got %q", got)
	}
	if !unfinished.MatchString("// "+"TO"+"DO: later") || unfinished.MatchString("// XXXL") {
		t.Error("the marks are not matched as words")
	}
}
