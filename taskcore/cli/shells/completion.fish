# taskcore in fish: save this as ~/.config/fish/completions/taskcore.fish
function __taskcore
    set -l before (commandline -opc)
    set -l word (commandline -ct)
    set -l found ($before[1] completion --words $before[2..-1] "$word" 2>/dev/null)
    string join \n -- $found; or __fish_complete_path "$word"
end
complete -c taskcore -f -a '(__taskcore)'
