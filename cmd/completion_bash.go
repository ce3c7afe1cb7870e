package cmd

import (
	"bytes"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
)

// bashWords replaces the end of cobra's script for bash. readline inserts behind the last colon or equals sign, or from the
// last @ on; it splits token=@FILE twice. cobra knows neither @ nor words with two of these, nor that a word left alone
// has its commas escaped.
const bashWords = `
    local before="${cur%"${cur##*[=:]}"}" escaped index
    [[ ${cur#"$before"} == *@* ]] && before="${cur%@*}"
    printf -v escaped '%q' "$before"
    for index in "${!COMPREPLY[@]}"; do
        [[ -n $before ]] && COMPREPLY[index]=${COMPREPLY[index]#"$before"} && COMPREPLY[index]=${COMPREPLY[index]#"$escaped"}
    done
`

// bashCompletion writes the script for bash.
func bashCompletion(w io.Writer, root *cobra.Command) error {
	var script bytes.Buffer
	if err := root.GenBashCompletionV2(&script, true); err != nil {
		return err
	}
	name := root.Name()
	cut := fmt.Sprintf("\n    __%[1]s_handle_special_char \"$cur\" :\n    __%[1]s_handle_special_char \"$cur\" =\n", name)
	text := strings.Replace(script.String(), cut, bashWords, 1)
	_, err := io.WriteString(w, strings.ReplaceAll(text, "completion -n =:", "completion -n =:@"))
	return err
}
