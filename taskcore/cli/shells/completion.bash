# taskcore in bash: `source <(taskcore completion bash)` in ~/.bashrc
_taskcore() {
    local IFS=$'\n'
    COMPREPLY=($("${COMP_WORDS[0]}" completion --words "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null | cut -f 1))
}
complete -o default -F _taskcore taskcore
