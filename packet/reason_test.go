package packet

import "testing"

// Every reason has words, and no two the same.
func TestReasonText(t *testing.T) {
	seen := make(map[string]Reason)
	for r := range ReasonCount {
		text := r.String()
		if reasonText[r] == "" {
			t.Errorf("reason %d has no words", r)
		}
		if other, ok := seen[text]; ok {
			t.Errorf("reasons %d and %d are both %q", other, r, text)
		}
		seen[text] = r
	}
	for _, r := range []Reason{ReasonCount, ReasonCount + 1, 65535} {
		if got := r.String(); got != "unknown reason" {
			t.Errorf("reason %d is %q", r, got)
		}
	}
}
