#compdef taskcore
# taskcore in zsh: save this as _taskcore in a folder of $fpath, or `source <(taskcore completion zsh)` after compinit
_taskcore() {
    local -a found=("${(@f)$("$words[1]" completion --words "${(@)words[2,CURRENT]}" 2>/dev/null)}")
    if [[ -n $found ]]; then
        found=("${(@)found/$'\t'/:}")
        _describe taskcore found
    else
        _files
    fi
}
compdef _taskcore taskcore
[[ $funcstack[1] == _taskcore ]] && _taskcore
