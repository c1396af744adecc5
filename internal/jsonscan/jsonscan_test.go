package jsonscan

import (
	"bytes"
	"encoding/json"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

func TestEachMember(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		object string
		want   []string
	}{
		{`{}`, nil},
		{`{"a":1}`, []string{`"a"=1`}},
		{`{"a":"}","b\"":{"c":[1,"]"]},"":null,"d":[],"e":-1.5e9}` + "\n", []string{`"a"="}"`, `"b\""={"c":[1,"]"]}`, `""=null`, `"d"=[]`, `"e"=-1.5e9`}},
	} {
		var got []string
		EachMember([]byte(tt.object), func(key, value []byte) { got = append(got, string(key)+"="+string(value)) })
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%s: want -, got +:\n%s", tt.object, diff)
		}
	}
}

// FuzzEachMember compares with encoding/json: the same members, in order.
func FuzzEachMember(f *testing.F) {
	for _, s := range []string{`{"a":1,"b":{"c":"}"}}`, `{"\\\"":[{"x":"]"}],"u\u0022":true}`, `{"a":null}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, src []byte) {
		var buf bytes.Buffer
		var want map[string]json.RawMessage
		if !utf8.Valid(src) || json.Unmarshal(src, &want) != nil || want == nil || json.Compact(&buf, src) != nil {
			return
		}
		got := map[string]json.RawMessage{}
		EachMember(buf.Bytes(), func(key, value []byte) { got[Unquoted(key)] = bytes.Clone(value) })
		if len(got) != len(want) {
			t.Fatalf("%d members of %d: %s", len(got), len(want), buf.Bytes())
		}
		for k, v := range want {
			var w bytes.Buffer
			if err := json.Compact(&w, v); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got[k], w.Bytes()) {
				t.Errorf("%q: got %s, want %s", k, got[k], &w)
			}
		}
	})
}
